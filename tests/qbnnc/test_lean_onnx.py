"""An .onnx without the qbnnc model in it, and one that was changed, on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import qbnnc
from tests.commands import Runner, npz


@pytest.fixture
def compiled(qbnnc_command: Runner) -> Runner:
    """lean.onnx without its model, out.qbnn and out.onnx of the same network, and x.npz."""
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)).eval()
    rows = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)
    np.savez("x.npz", x=rows, y=rows[:, :1])
    qbnnc.save(net, "float.qbnn", (torch.zeros(2, 3),), calibration=rows, dropout="active")
    made = qbnnc_command("compile", "float.qbnn", "-o", "out.qbnn", "-o", "out.onnx", "-q")
    assert made.code == 0, made.err
    lean = ("compile", "out.qbnn", "-o", "lean.onnx", "--no-embedded-model", "-q")
    assert qbnnc_command(*lean).code == 0
    return qbnnc_command


def test_what_works_without_the_model(compiled: Runner) -> None:
    assert Path("lean.onnx").stat().st_size < Path("out.onnx").stat().st_size
    data = ("--input", "x.npz:x")
    for more in ((), ("--samples", 3)):
        for name in ("lean", "out"):
            run = ("run", f"{name}.onnx", *data, "-o", f"{name}.npz", "-q", *more)
            assert compiled(*run).code == 0
        lean, whole = npz("lean.npz"), npz("out.npz")
        assert lean.keys() == whole.keys()
        assert all((lean[name] == whole[name]).all() for name in whole)
    for files in (("lean.onnx", "out.qbnn"), ("out.qbnn", "lean.onnx")):
        result = compiled("verify", *files, *data)
        assert result.code == 0, result.err
        assert result.words.count("equal") == 2
    bench = ("bench", "lean.onnx", "--batch", 1, "--threads", 1, "--seconds", 0.1)
    assert compiled(*bench).code == 0


def test_what_needs_the_model(compiled: Runner) -> None:
    for command in (
        ("verify", "lean.onnx", "--input", "x.npz:x"),
        ("inspect", "lean.onnx"),
        ("inspect", "lean.onnx", "--plan"),
        ("evaluate", "lean.onnx", "--data", "x.npz", "--task", "regression"),
        ("verify", "lean.onnx", "--input", "x.npz:x", "--source", "float.qbnn"),
    ):
        said = compiled.refused(*command)
        assert said.startswith("lean.onnx: holds no qbnnc model (--no-embedded-model)")
    said = compiled.refused("compile", "float.qbnn", "-o", "b.qbnn", "--no-embedded-model")
    assert "--no-embedded-model: is for .onnx" in said


def test_a_changed_constant(compiled: Runner) -> None:
    """Also one that the Model in the file says nothing of."""
    for name in ("out.onnx", "lean.onnx"):
        proto = onnx.load_model(name)
        tensor = next(t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
        array = numpy_helper.to_array(tensor) * np.float32(1.5)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        onnx.save_model(proto, "changed.onnx")
        for command in (
            ("run", "changed.onnx", "--input", "x.npz:x", "-o", "p.npz"),
            ("verify", "changed.onnx", "--input", "x.npz:x"),
            ("bench", "changed.onnx"),
            ("inspect", "changed.onnx"),
            ("evaluate", "changed.onnx", "--data", "x.npz", "--task", "regression"),
        ):
            assert "changed.onnx: changed after" in compiled.refused(*command)


def test_an_old_file(compiled: Runner) -> None:
    proto = onnx.load_model("out.onnx")
    (entry,) = (p for p in proto.metadata_props if p.key == "content")
    proto.metadata_props.remove(entry)
    onnx.save_model(proto, "old.onnx")
    for command in (
        ("run", "old.onnx", "--input", "x.npz:x", "-q"),
        ("verify", "old.onnx", "--input", "x.npz:x", "-q"),
        ("inspect", "old.onnx"),
        ("bench", "old.onnx", "--batch", 1, "--threads", 1, "--seconds", 0.1),
        ("evaluate", "old.onnx", "--data", "x.npz", "--task", "regression"),
    ):
        result = compiled(*command)
        assert result.code == 0, result.err
        assert result.err.count("Warning: old.onnx: made by an older qbnnc") == 1, command
