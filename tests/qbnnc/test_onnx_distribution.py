"""The distribution qbnnc-onnx: a wheel that runs an .onnx with numpy and onnxruntime alone."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from tests.backends.networks import Lenet
from tests.strategies import input_batch
from tools.qbnnc_onnx.hatch_build import imports, modules

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tools" / "qbnnc_onnx"
THEIRS = ("numpy", "onnxruntime")
PROGRAM = """
import sys
import numpy as np
import qbnnc_onnx

with np.load("x.npz") as archive:
    x = archive["x"]
model = qbnnc_onnx.load("model.onnx")
np.savez("made.npz", **model.predict(x, samples=2, seed=7, first_row=3))
try:
    qbnnc_onnx.load("x.npz")
except qbnnc_onnx.FileError as error:
    print(error)
print(*{name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=SOURCE, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_it_holds_what_it_needs_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        metadata = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        needs = [line for line in archive.read(metadata).decode().splitlines() if "Dist:" in line]
    assert {name.partition("/")[0] for name in names} == {"qbnnc_onnx"}
    assert sorted(line.split()[1].partition(">")[0] for line in needs) == list(THEIRS)
    assert len(names) < 40


def test_its_modules_import_nothing_else() -> None:
    found = modules(SOURCE)
    loaded = {name.partition(".")[0] for file in found.values() for name in imports(file)}
    assert loaded - sys.stdlib_module_names - {"qbnnc"} == set(THEIRS)
    assert "qbnnc.backends.onnx.session" in found


@pytest.mark.slow
def test_it_predicts_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Numpy and onnxruntime are this environment's, by links, so that no network is needed."""
    model = Lenet().model()
    data, x = emit(model), input_batch(model, 4)
    (tmp_path / "model.onnx").write_bytes(data)
    np.savez(tmp_path / "x.npz", x=x)
    venv.create(tmp_path / "venv", symlinks=True)
    site = next((tmp_path / "venv").glob("[Ll]ib/**/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    for name in THEIRS:
        for folder in _folders(name):
            (site / folder.name).symlink_to(folder)
    python = next((tmp_path / "venv").glob("[bS]*/python*"))
    ran = subprocess.run(
        [python, "-I", "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    refused, loaded = ran.stdout.splitlines()
    assert refused.startswith("x.npz: not an ONNX file")
    assert not {"torch", "onnx", "numba", "click", "qbnnc", "google"} & set(loaded.split())
    expected = OnnxArtefact.from_bytes(data).predict(x, samples=2, seed=7, first_row=3)
    with np.load(tmp_path / "made.npz") as made:
        assert set(made) == set(expected)
        assert all(made[name].tobytes() == expected[name].tobytes() for name in expected)


def _folders(package: str) -> list[Path]:
    """A package of this environment, and its libraries beside it."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    libraries = folder.with_name(f"{package}.libs")
    return [folder, libraries] if libraries.exists() else [folder]
