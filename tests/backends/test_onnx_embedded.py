"""The Model in an ONNX file: absent, old, or a bomb."""

from __future__ import annotations

import base64
import bz2
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.format import digest
from qbnnc.support.errors import ArtefactWarning, FileError
from tests.backends.networks import Lenet
from tests.backends.test_onnx_content import DATA, X, changed, set_property, signed
from tests.strategies import random_integer_model


def without_digest(data: bytes = DATA) -> bytes:
    return changed(lambda p: p.metadata_props.pop(-1), data)


def test_an_old_file_is_run_with_a_word() -> None:
    with pytest.warns(ArtefactWarning, match=r"^a\.onnx: made by an older qbnnc.*compile it again"):
        old = OnnxArtefact.from_bytes(without_digest(), "a.onnx")
    assert (old.predict(X)["samples"] == OnnxArtefact.from_bytes(DATA).predict(X)["samples"]).all()
    with pytest.warns(ArtefactWarning):
        assert digest(read_model(without_digest())) == old.digest


def test_a_file_without_its_model() -> None:
    model = Lenet().model()
    lean = emit(model, embedded_model=False)
    assert len(lean) < len(DATA) - 500
    keys = {entry.key for entry in onnx.load_model_from_string(lean).metadata_props}
    assert "model" not in keys
    loaded = OnnxArtefact.from_bytes(lean, "lean.onnx")
    assert loaded.digest == digest(model)
    for samples in (None, 2):
        one, other = (
            each.predict(X, samples=samples) for each in (loaded, OnnxArtefact.from_bytes(DATA))
        )
        assert all((one[name] == other[name]).all() for name in one)
    assert loaded.trace(X).keys() == OnnxArtefact.from_bytes(DATA).trace(X).keys()
    with pytest.raises(FileError, match=r"^lean\.onnx: holds no qbnnc model"):
        read_model(lean, "lean.onnx")


MEASURE = """
import resource, sys
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.support.errors import FileError
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_model(data, "a.onnx")
except FileError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, error)
"""


def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    bomb = base64.b64encode(bz2.compress(bytes(300_000_000))).decode()
    data = signed(lambda proto: set_property(proto, "model", bomb))
    assert len(data) < 30_000
    (tmp_path / "bomb.onnx").write_bytes(data)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "bomb.onnx")],
        capture_output=True,
        text=True,
        check=True,
    )
    taken, said = ran.stdout.split(" ", 1)
    assert "changed after qbnnc made it" in said
    assert int(taken) < 50_000  # kilobytes; the bomb has 300,000


@pytest.mark.parametrize("members", [1, 3])
def test_honest_models_are_far_below_the_limit(members: int) -> None:
    """The unpacked bytes are fewer than the file's; the limit is 8 times the file and 1 MiB."""
    for seed in range(5):
        data = emit(random_integer_model(seed, members=members))
        properties = {p.key: p.value for p in onnx.load_model_from_string(data).metadata_props}
        assert len(bz2.decompress(base64.b64decode(properties["model"]))) < 2 * len(data)
