"""The content of the ONNX file: structure, names, metadata."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from onnx import TensorProto, helper, numpy_helper

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.format import digest
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array, Stage
from qbnnc.support.errors import CompileError, UserError
from tests.backends.equality import EVERY_MODEL, assert_values_equal
from tests.backends.networks import Lenet, proto_of
from tests.examples import examples
from tests.float_layers import float_compute_nodes
from tests.strategies import input_batch, integer_models, random_integer_model


@examples(60)
@given(EVERY_MODEL)
def test_file_is_valid_and_the_same_each_time(model: Model) -> None:
    data = emit(model)
    assert data == emit(model)
    proto = onnx.load_model_from_string(data)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    assert {o.domain: o.version for o in proto.opset_import}[""] == 21
    assert proto.ir_version == 10
    batch = {
        v.type.tensor_type.shape.dim[0].dim_param for v in proto.graph.input if v.name == "input"
    }
    assert batch == {"batch"}
    assert [v.name for v in proto.graph.input] == ["input", "seed", "first_row"]


@pytest.mark.few(0)
@examples(60)
@given(EVERY_MODEL)
def test_no_layer_stays_float(model: Model) -> None:
    assert float_compute_nodes(emit(model)) == []


def test_a_layer_that_stays_float_is_found() -> None:
    """A DequantizeLinear -> Conv without QuantizeLinear, which onnxruntime does not fuse."""
    arrays = {"w": np.ones((1, 1, 1, 1), np.int8), "s": np.float32(0.5), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wr"]),
        helper.make_node("Conv", ["x", "wr"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 2, 2])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    assert [n.split(":")[0] for n in float_compute_nodes(model.SerializeToString())] == ["Conv"]


@examples(60)
@given(EVERY_MODEL)
def test_every_quantizer_is_followed_by_a_clamp(model: Model) -> None:
    """Never Q -> DQ -> Q -> DQ, which onnxruntime merges; and no Relu, which changes the fusion.

    An Add is fused: it counts in steps of its result (tests/backends/test_onnx_add.py).
    """
    proto = proto_of(model)
    quantized = {n.output[0] for n in proto.graph.node if n.op_type == "QuantizeLinear"}
    readers = {n.op_type for n in proto.graph.node if quantized & set(n.input)}
    assert readers <= {"Clip"}
    reading = [n for n in proto.graph.node if _reads_real(n)]
    assert not {"Relu", "Clip"} & {n.op_type for n in reading}
    sums = {n.output[0] for n in reading if n.op_type == "Add"}
    steps = [_array(proto, n.input[1]) for n in proto.graph.node if n.input[0] in sums]
    assert steps == [1.0] * len(sums)


def _array(proto: onnx.ModelProto, name: str) -> Array:
    (stored,) = (i for i in proto.graph.initializer if i.name == name)
    return numpy_helper.to_array(stored)


def _reads_real(node: onnx.NodeProto) -> bool:
    return any(name.endswith("/real") for name in node.input)


@pytest.mark.few(0)
@examples(60)
@given(
    integer_models(members=2)
    | integer_models(members=2, ops="all")
    | integer_models(members=2, ops="draws")
)
def test_values_are_found_under_their_names(model: Model) -> None:
    assert_values_equal(model, 3)


def test_prefix_is_computed_once() -> None:
    model = Lenet().model()
    traced = OnnxArtefact.from_bytes(emit(model)).trace(np.zeros((5, 2, 6, 6)))
    assert traced["conv1.q"].shape == (1, 5, 3, 4, 4)
    assert traced["drop"].shape == (3, 5, 3, 4, 4)


def test_names_of_inputs_and_outputs_can_be_names_of_modules() -> None:
    model = Lenet().model(conv="mean", drop="seed", out="samples")
    loaded = OnnxArtefact.from_bytes(emit(model))
    x = input_batch(model, 2)
    (expected,) = oracle_samples(model, x, samples=3)
    assert np.array_equal(loaded.predict(x)["samples"], expected)
    assert loaded.trace(x)["mean"].dtype == np.uint8
    assert loaded.trace(x)["seed"].shape == (3, 2, 3, 4, 4)


def test_metadata() -> None:
    model = Lenet().model()
    proto = proto_of(model)
    properties = {p.key: p.value for p in proto.metadata_props}
    assert properties["digest"] == digest(model)
    assert properties["method"] == "MC dropout"
    assert (properties["task"], properties["samples"], properties["members"]) == ("raw", "3", "1")
    assert "splitmix64" in properties["rng"]
    assert "bit for bit" in properties["promise"]
    assert proto.producer_name == "qbnnc"
    assert proto.producer_version == properties["version"]
    assert "Monte-Carlo" in proto.doc_string
    places = {n.doc_string for n in proto.graph.node if n.op_type in ("Conv", "Gemm")}
    assert places == {"conv1.q (net.py:1)", "fc (net.py:1)"}


def refused(graph: Graph) -> Model:
    return Model((graph,), Head(Task.RAW))


def test_what_cannot_be_emitted_is_refused() -> None:
    model = random_integer_model(0, dropout=False)
    with pytest.raises(UserError, match="nothing is random"):
        emit(model, samples=2)
    with pytest.raises(UserError, match="cannot be shared among 2 members"):
        emit(random_integer_model(1, members=2), samples=3)
    with pytest.raises(UserError, match="positive"):
        emit(model, samples=0)
    graph = Graph(model.graph.input, (), (), {}, Stage.FLOAT)
    with pytest.raises(CompileError, match="at stage FLOAT, not INTEGER"):
        emit(refused(graph))
    codes = model.graph.nodes[0].output
    graph = Graph(
        model.graph.input, model.graph.nodes, (codes,), model.graph.constants, Stage.INTEGER
    )
    with pytest.raises(CompileError, match="the output is codes"):
        emit(refused(graph))
