"""The stored form of weights and biases: the saturation rule, and the bias that was folded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.contraction import may_saturate, raw_bias
from qbnnc.backends.onnx.embedded_model import read_model
from qbnnc.backends.onnx.int4_packing import is_packed, pack, unpack
from qbnnc.backends.onnx.layout import Layout
from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.format import digest
from qbnnc.ir.graph import Builder
from qbnnc.ir.ops import LinearInteger, QuantizeInput
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc
from tests.backends.networks import Lenet, initializers, proto_of, sign
from tests.float_layers import float_compute_nodes


@pytest.mark.parametrize(
    ("activation_bits", "weight_bits", "dtype"),
    [(7, 8, np.int8), (8, 8, np.uint8), (8, 7, np.int8), (5, 5, np.int8)],
)
@pytest.mark.parametrize("zero", [0, -1])
def test_weights_whose_products_could_saturate_are_unsigned(
    activation_bits: int, weight_bits: int, dtype: type[np.generic], zero: int
) -> None:
    """vpmaddubsw: not visible where there is VNNI, so the rule itself is tested."""
    model = Lenet(activation_bits, weight_bits, zero).model()
    proto = proto_of(model)
    arrays = initializers(proto)
    inputs = {n.output[0]: n.input for n in proto.graph.node if n.op_type == "DequantizeLinear"}
    layers = [n for n in proto.graph.node if n.op_type in ("Conv", "Gemm")]
    assert len(layers) == 2
    for layer in layers:
        codes, _, zero_point = inputs[layer.input[1]]
        assert arrays[codes].dtype == dtype
        assert arrays[zero_point].dtype == dtype
        assert set(arrays[zero_point].ravel().tolist()) == {zero + 128 * (dtype == np.uint8)}


def test_saturation_rule() -> None:
    def codes(low: int, high: int) -> QuantParams:
        return QuantParams((1.0,), (0,), low, high)

    assert may_saturate(codes(0, 255), codes(-127, 127))
    assert may_saturate(codes(0, 255), codes(-128, 127))
    assert not may_saturate(codes(0, 127), codes(-128, 127))
    assert not may_saturate(codes(0, 255), codes(-64, 63))


def test_raw_bias_is_recovered_exactly() -> None:
    """offset = q_b + K*Z_w*Z_x - Z_x*sum(q_w), mod 2^32."""
    build, rng = Builder(), np.random.default_rng(1)
    x = build.input("input", TensorType(DType.F32, (9,), PER_ROW))
    quant = activation_quant(-1.0, 1.0, 7)
    loc = Loc("fc", "")
    q = build.emit(QuantizeInput((0.0,), quant.scale, quant, 0, 127), x, loc=loc, name="q")
    codes, zero = rng.integers(-128, 128, (4, 9)), np.array([3, -128, 0, 127])
    raw = np.array([5, -(2**31), 2**31 - 1, 0])
    zero_x = quant.zero_point[0]
    offset = raw + 9 * zero * zero_x - zero_x * codes.sum(axis=1)
    weight_quant = QuantParams((0.5,) * 4, tuple(map(int, zero)), -128, 127, 0)
    weight = build.constant("w", codes.astype(np.int8), weight_quant)
    bias = build.constant("b", offset.astype(np.int32))
    acc = build.emit(LinearInteger(folded=True), q, weight, bias, loc=loc, name="acc")
    graph = build.graph((acc,), Stage.INTEGER)
    writer = Writer([])
    scope = Scope(graph, Layout(writer, 1, writer.ints(1)), "", (), {})
    assert raw_bias(scope, graph.producers()[acc]).tolist() == raw.tolist()


def test_four_bit_weights_are_stored_two_in_a_byte() -> None:
    """Half the bytes; the layer reads int8, so that the same kernels run."""
    four, five = (initializers(proto_of(Lenet(weight_bits=bits).model())) for bits in (4, 5))
    for name in ("conv1.weight", "fc.weight"):
        packed, plain = four[f"{name}/int4"], five[name]
        assert packed.dtype == np.uint8
        assert plain.dtype == np.int8
        assert 2 * packed.size == plain.size
    assert float_compute_nodes(emit(Lenet(weight_bits=4).model())) == []


def test_an_odd_number_of_codes_is_not_packed() -> None:
    assert not is_packed(np.zeros((3, 5), np.int8))
    assert is_packed(np.zeros((3, 4), np.int8))
    assert not is_packed(np.array([8, 0], np.int8))


@given(st.binary(max_size=50))
def test_packed_codes_lie_as_onnx_lays_int4(data: bytes) -> None:
    codes = np.array([(byte >> shift & 15 ^ 8) - 8 for byte in data for shift in (0, 4)], np.int8)
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, [len(codes)], data, raw=True)
    assert numpy_helper.to_array(tensor).astype(np.int8).tolist() == codes.tolist()
    assert unpack(np.frombuffer(data, np.uint8)).tolist() == codes.tolist()
    assert pack(codes).tobytes() == data


def test_files_with_int4_initialisers_are_read() -> None:
    """Write weights of four bits as they were written before they were bytes."""
    model = Lenet(weight_bits=4).model()
    proto, changed = proto_of(model), 0
    for tensor in proto.graph.initializer:
        if tensor.name.endswith("/int4"):
            count = 2 * tensor.dims[0]
            raw, name = tensor.raw_data, tensor.name
            old = onnx.helper.make_tensor(name, onnx.TensorProto.INT4, [count], raw, raw=True)
            tensor.CopyFrom(old)
            changed += 1
    assert changed == 2
    sign(proto)
    assert digest(read_model(proto.SerializeToString())) == digest(model)
