"""The Model inside an ONNX file: read back whole, or refused."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from onnx import numpy_helper

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.format import digest, from_bytes
from qbnnc.ir.graph import Builder
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Dequantize, LinearInteger, QuantizeInput, Requantize
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import ArtefactWarning, FileError, Loc
from tests.backends.networks import Lenet, proto_of
from tests.examples import examples
from tests.golden import golden, results
from tests.strategies import integer_models


@examples(40)
@given(
    integer_models(members=2)
    | integer_models(members=2, ops="all")
    | integer_models(members=2, ops="draws")
)
def test_the_model_can_be_read_back(model: Model) -> None:
    assert digest(read_model(emit(model))) == digest(model)


def test_a_file_of_version_1_is_read_and_run() -> None:
    data, expected = golden("ensemble.onnx"), results()
    with pytest.warns(ArtefactWarning, match="made by an older qbnnc"):
        model, artefact = read_model(data), OnnxArtefact.from_bytes(data)
    assert (digest(model), artefact.digest) == (str(expected["ensemble_digest"]),) * 2
    x = np.asarray(expected["ensemble_input"], np.float32)
    made = artefact.predict(x, seed=5)
    assert (made["samples"] == expected["ensemble_0"]).all()


def test_a_model_of_version_1_is_written_with_its_digest() -> None:
    model = from_bytes(golden("ensemble.qbnn"))
    assert digest(read_model(emit(model))) == str(results()["ensemble_digest"])


def test_a_changed_weight_is_noticed() -> None:
    proto = proto_of(Lenet().model())
    (tensor,) = (t for t in proto.graph.initializer if t.name == "fc.weight")
    array = numpy_helper.to_array(tensor).copy()
    array[0, 0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(array, "fc.weight"))
    with pytest.raises(FileError, match="changed after qbnnc made it"):
        read_model(proto.SerializeToString(), "a.onnx")


@pytest.mark.parametrize("text", ["", "AAAA", base64.b64encode(b"x" * 40).decode(), "%"])
def test_a_changed_model_property_is_noticed(text: str) -> None:
    proto = proto_of(Lenet().model())
    (entry,) = (p for p in proto.metadata_props if p.key == "model")
    entry.value = text
    with pytest.raises(FileError):
        read_model(proto.SerializeToString(), "a.onnx")


def test_the_file_does_not_hold_the_weights_twice() -> None:
    lenet = Lenet()
    big = lenet.weight("big", 64, 512)
    x = lenet.build.input("input", TensorType(DType.F32, (512,), PER_ROW))
    quant = activation_quant(-1.0, 1.0, 7)
    q = lenet.emit(QuantizeInput((0.0,), quant.scale, quant, 0, 127), x, name="q")
    acc = lenet.emit(LinearInteger(), q, big, lenet.bias("b", 64), name="acc")
    out = lenet.emit(Dequantize(), acc, name="out")
    model = Model((lenet.build.graph((out,), Stage.INTEGER),), Head(Task.RAW))
    assert len(emit(model)) < 64 * 512 + 12_000


def test_scales_that_equal_multipliers_are_read_back() -> None:
    """A multiplier follows from the scales and is left out; a scale with the same bits is not."""
    entry = QuantParams((1.0,), (0,), 0, 127)
    weights = QuantParams((0.5, 0.25), (0, 0), -127, 127, 0)
    build = Builder()
    x = build.input("x", TensorType(DType.F32, (2,), PER_ROW))
    place = Loc("fc")
    q = build.emit(QuantizeInput((0.0,), (1.0,), entry, 0, 127), x, loc=place, name="q")
    m = build.constant("m", np.array([0.5, 0.25], np.float32))
    weight = build.constant("weight", np.array([[1, 2], [3, 4]], np.int8), weights)
    bias = build.constant("bias", np.array([5, 6], np.int32))
    acc = build.emit(LinearInteger(), q, weight, bias, loc=place, name="acc")
    codes = build.emit(Requantize(entry, 0, 127), acc, m, loc=place, name="codes")
    out = build.emit(Dequantize(), codes, loc=place, name="out")
    model = Model((build.graph((out,), Stage.INTEGER),), Head(Task.RAW))
    assert digest(read_model(emit(model))) == digest(model)
