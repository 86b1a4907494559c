"""The folder of the kernels, and the facts that its name depends on."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from qbnnc.runtime import cache_folder
from qbnnc.runtime.cache_folder import cache_root, fingerprint, sources

RUNTIME = Path(cache_folder.__file__).parent


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    cache_folder.store.cache_clear()
    yield
    cache_folder.store.cache_clear()


def test_fingerprint_follows_content(monkeypatch: pytest.MonkeyPatch) -> None:
    before, files = fingerprint(), sources(RUNTIME)
    assert fingerprint() == before
    names = [name for name, _ in files]
    assert "runtime/families/contraction/kernels/convolution.py" in names
    assert "ir/rng.py" in names
    for i, (name, content) in enumerate(files):
        changed = [*files[:i], (name, content + b" "), *files[i + 1 :]]
        monkeypatch.setattr(cache_folder, "sources", lambda _, changed=changed: changed)
        assert fingerprint() != before, name


def test_fingerprint_covers_what_kernels_import() -> None:
    """Numbers that kernels import are part of the machine code."""
    names = [name for name, _ in sources(RUNTIME)]
    for file in (RUNTIME / "kernels").glob("*.py"):
        for module in re.findall(r"^from qbnnc\.(ir\.\S+)", file.read_text(), re.MULTILINE):
            assert f"{module.replace('.', '/')}.py" in names, f"{file.name}: {module}"


@pytest.mark.parametrize(
    ("holder", "name", "value"),
    [
        (llvm, "get_host_cpu_name", lambda: "another"),
        (cache_folder, "target_features", lambda: {"feature": True}),
        (cache_folder, "version", lambda _: "0.0"),
        (np, "__version__", "0.0"),
        (platform, "python_version", lambda: "3.0.0"),
    ],
)
def test_fingerprint_follows_machine_and_versions(
    holder: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint()
    monkeypatch.setattr(holder, name, value)
    assert fingerprint() != before


@pytest.mark.parametrize("name", ["CPU_NAME", "CPU_FEATURES"])
def test_fingerprint_follows_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint()
    monkeypatch.setenv(f"NUMBA_{name}", "+another")
    assert fingerprint() != before


@pytest.mark.parametrize(
    ("platform", "environment", "root"),
    [
        ("linux", {"QBNNC_CACHE_DIR": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/qbnnc"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/qbnnc"),
        ("linux", {}, "/home/me/.cache/qbnnc"),
        ("darwin", {}, "/home/me/Library/Caches/qbnnc"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/qbnnc/Cache"),
    ],
)
def test_places(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], root: str
) -> None:
    for name in ("QBNNC_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_root() == Path(root)


def test_store_is_in_a_private_folder_of_this_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QBNNC_CACHE_DIR", str(tmp_path / "made" / "here"))
    kept = cache_folder.store()
    assert kept.folder == tmp_path / "made" / "here" / f"kernels-{fingerprint()}"
    assert kept.fault == ""
    for folder in (kept.folder, *kept.folder.parents[:2]):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        (0o1777, "can be written by other users; empty it, and chmod go-w"),
        (0o770, "can be written by other users"),
    ],
)
def test_chosen_folder_that_others_can_write_to(
    mode: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(mode)
    monkeypatch.setenv("QBNNC_CACHE_DIR", str(root))
    kept = cache_folder.store()
    assert kept.folder is None
    assert says in kept.fault
    assert str(root) in kept.fault
    assert "$QBNNC_CACHE_DIR" in kept.fault


def test_no_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("QBNNC_CACHE_DIR", str(tmp_path / "file"))
    assert cache_folder.store().folder is None
    assert f"{tmp_path / 'file'}" in cache_folder.store().fault


def test_no_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QBNNC_CACHE_DIR", f"~{os.urandom(8).hex()}/x")
    assert cache_folder.store().folder is None
    assert cache_folder.store().fault != ""
