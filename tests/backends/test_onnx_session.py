"""OnnxArtefact: what it takes, and what it says when something is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.format import digest
from qbnnc.ir.model import Model
from qbnnc.ir.ops import KeepMask
from qbnnc.support.errors import FileError, InputError, UserError
from tests.backends.networks import sign
from tests.float_layers import float_compute_nodes
from tests.strategies import input_batch, random_integer_model


def stochastic() -> Model:
    """The first model of the generator with dropout, two outputs or one."""
    return next(
        model
        for model in map(random_integer_model, range(100))
        if any(isinstance(n.op, KeepMask) for n in model.graph.nodes)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(emit(stochastic(), samples=4))
    return path


def foreign() -> bytes:
    """An ONNX file of another program."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["input"], ["out"])],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 2])],
    )
    model = helper.make_model(graph, producer_name="pytorch")
    data: bytes = model.SerializeToString()
    return data


def test_what_a_file_says_about_itself(file: Path) -> None:
    model, loaded = stochastic(), OnnxArtefact.load(file, threads=2)
    assert loaded.digest == digest(model)
    assert loaded.samples == 4
    assert loaded.input_shape == model.graph.input.type.shape
    assert loaded.description.method == "MC dropout"
    assert loaded.description.bits == "mixed"
    names = model.head.sample_names(len(model.graph.outputs))
    assert loaded.description.sample_names == names
    assert loaded.output_names[: len(names)] == names


@pytest.mark.parametrize("samples", [0, -1, 5, 10**9])
def test_samples_the_file_cannot_give(file: Path, samples: int) -> None:
    loaded = OnnxArtefact.load(file)
    with pytest.raises(UserError, match=f"up to 4 samples, not {samples}"):
        loaded.predict(input_batch(stochastic(), 1), samples=samples)


def test_data_is_checked(file: Path) -> None:
    loaded = OnnxArtefact.load(file)
    x = input_batch(stochastic(), 2)
    with pytest.raises(InputError, match="NaN in row 1"):
        loaded.predict(np.where(np.arange(2).reshape(2, *[1] * (x.ndim - 1)) == 1, np.nan, x))
    with pytest.raises(InputError, match="shape"):
        loaded.predict(x[0])
    half: Any = 1.5
    with pytest.raises(InputError, match="whole number"):
        loaded.predict(x, seed=half)
    for name in ("batch_size", "threads"):
        with pytest.raises(InputError, match=f"{name}: 0 is not a positive number"):
            loaded.predict(x, **{name: 0})
    same = loaded.predict(x.astype(np.float64))
    assert all(np.array_equal(same[k], v) for k, v in loaded.predict(x).items())


def test_seeds_are_taken_mod_2_to_the_64(file: Path) -> None:
    loaded, x = OnnxArtefact.load(file), input_batch(stochastic(), 2)
    minus_one = loaded.predict(x, seed=-1, first_row=-1)
    wrapped = loaded.predict(x, seed=2**64 - 1, first_row=2**64 - 1)
    assert all(np.array_equal(minus_one[name], wrapped[name]) for name in minus_one)


def test_values_that_are_not_there(file: Path) -> None:
    loaded = OnnxArtefact.load(file)
    with pytest.raises(UserError, match="holds no value called 'nothing'"):
        loaded.values(input_batch(stochastic(), 1), ["nothing"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"no protobuf at all, but text" * 9, "not an ONNX file"),
        (b"\x08\x0a", "not made by qbnnc"),
        (foreign(), "not made by qbnnc"),
    ],
)
def test_files_that_are_not_ours(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    with pytest.raises(FileError, match=message) as caught:
        OnnxArtefact.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        OnnxArtefact.load(tmp_path / "missing.onnx")


def test_truncated_files(file: Path) -> None:
    """Cut anywhere: protobuf may still parse it, but something it needs is gone."""
    whole = file.read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 60)):
        with pytest.raises(FileError):
            OnnxArtefact.from_bytes(whole[:size])


def test_a_graph_onnxruntime_refuses(file: Path) -> None:
    proto = onnx.load_model(file)
    proto.graph.node[3].op_type = "NoSuchOp"
    sign(proto)
    loaded = OnnxArtefact.from_bytes(proto.SerializeToString(), "bad.onnx")
    with pytest.raises(FileError, match=r"bad\.onnx: onnxruntime cannot load it") as caught:
        loaded.predict(input_batch(stochastic(), 1))
    assert "\n" not in str(caught.value)
    with pytest.raises(FileError, match="onnxruntime cannot load it"):
        float_compute_nodes(proto.SerializeToString())


@pytest.mark.parametrize(("key", "value"), [("task", "guessing"), ("samples", "many")])
def test_changed_metadata(file: Path, key: str, value: str) -> None:
    proto = onnx.load_model(file)
    (entry,) = (p for p in proto.metadata_props if p.key == key)
    entry.value = value
    with pytest.raises(FileError, match="metadata was changed"):
        OnnxArtefact.from_bytes(proto.SerializeToString())
