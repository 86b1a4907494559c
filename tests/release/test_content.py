"""What archives hold: a file too many, one too few, metadata that an index would show wrong."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tools.release.__main__ import known_repository
from tools.release.content import (
    METADATA,
    onnx_wheel_faults,
    packaged,
    read_wheel,
    sdist_faults,
    wheel_faults,
)
from tools.release.state import NotReadyError

ROOT = Path(__file__).parents[2]
TABLES = """
[tool.hatch.metadata.hooks.custom]
repository = ""
[tool.hatch.build.targets.wheel]
exclude = ["tools/study/paper"]
[tool.hatch.build.targets.wheel.sources]
"ir" = "qbnnc/ir"
"tools/study" = "qbnnc/study"
"tools/qbnnc" = "qbnnc"
"""
TRACKED = {
    "README.md",
    "ir/graph.py",
    "tests/test_a.py",
    "tools/qbnnc/__init__.py",
    "tools/qbnnc/py.typed",
    "tools/qbnnc_onnx/__init__.py",
    "tools/study/paper/b.py",
    "tools/study/sweep.py",
}
PACKAGED = {
    "qbnnc/ir/graph.py",
    "qbnnc/__init__.py",
    "qbnnc/py.typed",
    "qbnnc/study/sweep.py",
}
TEXT = (
    "Name: {}\nVersion: 1.2.0\nLicense-Expression: Apache-2.0\n\n# T\n[a](https://x.org) [b](#t)\n"
)


def wheel(folder: Path, names: set[str], metadata: str = TEXT.format("qbnnc")) -> Path:
    path = folder / "qbnnc-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in {*names, *(f"qbnnc-1.2.0.dist-info/{name}" for name in METADATA)}:
            archive.writestr(name, metadata if name.endswith("/METADATA") else "")
    return path


def onnx_wheel(folder: Path, names: set[str]) -> Path:
    path = folder / "qbnnc_onnx-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("qbnnc_onnx-1.2.0.dist-info/METADATA", TEXT.format("qbnnc-onnx"))
        for name in names:
            archive.writestr(name, "")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(TABLES)
    return tmp_path


def test_places_in_the_wheel(root: Path) -> None:
    assert set(packaged(TRACKED, root)) == PACKAGED


def test_a_wheel_as_it_should_be(root: Path) -> None:
    assert list(wheel_faults(wheel(root, PACKAGED), TRACKED, root)) == []


def test_files_too_many_and_too_few(root: Path) -> None:
    names = PACKAGED - {"qbnnc/py.typed"} | {"tests/test_a.py"}
    assert list(wheel_faults(wheel(root, names), TRACKED, root)) == [
        "qbnnc-1.2.0-py3-none-any.whl: tests/test_a.py does not belong there",
        "qbnnc-1.2.0-py3-none-any.whl: qbnnc/py.typed is missing",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("1.2.0", "1.1.0", "its metadata are of qbnnc 1.1.0"),
        ("Name: qbnnc", "Name: other", "its metadata are of other 1.2.0"),
        ("License-Expression: Apache-2.0\n", "", "no licence"),
        ("(https://x.org)", "(docs/a.md)", "](docs/a.md) leads nowhere"),
        ("# T", '<img src="a.png">', 'src=" leads nowhere'),
    ],
)
def test_metadata_that_an_index_would_show_wrong(
    root: Path, old: str, new: str, fault: str
) -> None:
    metadata = TEXT.format("qbnnc").replace(old, new)
    (found,) = wheel_faults(wheel(root, PACKAGED, metadata), TRACKED, root)
    assert fault in found


def test_links_in_code_are_no_links(root: Path) -> None:
    metadata = TEXT.format("qbnnc") + "```\n[a](b.md)\n```\n"
    assert list(wheel_faults(wheel(root, PACKAGED, metadata), TRACKED, root)) == []


def test_the_other_wheel(tmp_path: Path) -> None:
    good = {f"qbnnc_onnx/{name}" for name in ("__init__.py", "py.typed", "LICENSE", "_qbnnc/a.py")}
    assert list(onnx_wheel_faults(onnx_wheel(tmp_path, good))) == []
    bad = good - {"qbnnc_onnx/LICENSE"} | {"qbnnc_onnx/_qbnnc/test_a.py", "qbnnc/a.py"}
    assert list(onnx_wheel_faults(onnx_wheel(tmp_path, bad))) == [
        "qbnnc_onnx-1.2.0-py3-none-any.whl: qbnnc/a.py does not belong there",
        "qbnnc_onnx-1.2.0-py3-none-any.whl: qbnnc_onnx/_qbnnc/test_a.py does not belong there",
        "qbnnc_onnx-1.2.0-py3-none-any.whl: qbnnc_onnx/LICENSE is missing",
    ]


def test_an_sdist_holds_what_git_tracks(tmp_path: Path) -> None:
    path = tmp_path / "qbnnc-1.2.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in (*TRACKED - {"ir/graph.py"}, "PKG-INFO", "secret.txt"):
            archive.addfile(tarfile.TarInfo(f"qbnnc-1.2.0/{name}"), io.BytesIO())
    assert list(sdist_faults(path, TRACKED)) == [
        "qbnnc-1.2.0.tar.gz: secret.txt does not belong there",
        "qbnnc-1.2.0.tar.gz: ir/graph.py is missing",
    ]


def test_a_repository_that_nobody_named_is_refused(root: Path) -> None:
    with pytest.raises(NotReadyError, match=r"write `repository` in pyproject.toml"):
        known_repository(root, "")
    assert known_repository(root, "https://x.org") == "https://x.org"
    (root / "pyproject.toml").write_text(TABLES.replace('""', '"https://y.org"', 1))
    assert known_repository(root, "") == "https://y.org"


@pytest.mark.slow
def test_our_own_wheel_and_sdist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built where no new file can come in: from a copy of what git tracks."""
    pytest.importorskip("hatchling")
    if not (ROOT / ".git").exists():
        pytest.skip("the list of files is git's, and this is no clone")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True)
    tracked = set(listed.stdout.decode().splitlines())
    tracked = {name for name in tracked if (ROOT / name).exists()}
    copy = tmp_path / "tree"
    for name in tracked:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.setenv("QBNNC_REPOSITORY", "https://example.org/qbnnc")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    (made,) = tmp_path.glob("*.whl")
    (sdist,) = tmp_path.glob("*.tar.gz")
    assert list(wheel_faults(made, tracked, ROOT)) == []
    assert list(sdist_faults(sdist, tracked)) == []
    names, metadata = read_wheel(made)
    assert "qbnnc/py.typed" in names
    folders = {name.split("/")[1] for name in names if name.startswith("qbnnc/")}
    assert not {name for name in folders if name.startswith("test") and name != "testing.py"}
    assert "Source, https://example.org/qbnnc" in metadata.get_all("Project-URL", [])
