"""Layers with sampled weights: every kind of input, bias, zero point; rounding; what is stored."""

from __future__ import annotations

from itertools import islice

import numpy as np
import onnx
import onnxruntime
import pytest

from qbnnc.backends.onnx import drawn_in_parts, emit, sampled_weights, streams
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Conv2dInteger,
    EpsCodes,
    LinearInteger,
    SampledWeightInteger,
)
from qbnnc.ir.rng import eps_table
from qbnnc.ir.types import Array, QuantParams
from qbnnc.support.errors import CompileError
from tests.backends.drawn_layers import CONVOLUTIONS, Layers
from tests.backends.equality import artefact, assert_equal, assert_values_equal
from tests.examples import slow_but
from tests.float_layers import float_compute_nodes
from tests.strategies import input_batch, random_integer_model


@pytest.mark.sample(12)
@pytest.mark.parametrize("bits", slow_but([8], [0, 8]))
@pytest.mark.parametrize("kind", slow_but(["both"], ["constant", "row", "sample", "both"]))
@pytest.mark.parametrize("what", slow_but(["both"], ["weight", "bias", "both"]))
def test_every_input_meets_every_layer(kind: str, what: str, bits: int) -> None:
    """Sampled layers give accumulators and codes, also of 0 rows."""
    net = Layers(len(kind) + 10 * len(what), bits)
    model = net.every_layer(kind, what)
    assert_values_equal(model, 3)
    assert_equal(model, 0)
    assert float_compute_nodes(emit(model)) == []
    assert net.input_axes <= model.graph.nodes[-1].output.type.axes


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (7, np.int8)])
def test_sampled_weights_whose_products_could_saturate_are_unsigned(
    bits: int, dtype: type[np.generic]
) -> None:
    """In matrix products and fused kernels; ConvInteger always takes u8, which is faster."""
    net = Layers(1, bits)
    net.value = net.input_of("both")
    conv = net.requantize(net.sampled_layer(CONVOLUTIONS[0], "conv", "weight"), "conv.q")
    net.value = net.flatten("x")
    proto = onnx.load_model_from_string(
        emit(net.model(conv, net.sampled_layer(LinearInteger(), "fc", "both")))
    )
    proto = onnx.shape_inference.infer_shapes(proto)
    types = {v.name: v.type.tensor_type.elem_type for v in proto.graph.value_info}
    wanted = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    kinds = {
        n.op_type: types[n.input[1 if n.op_type == "MatMulInteger" else 0]]
        for n in proto.graph.node
        if n.op_type in ("MatMulInteger", "Scan")
    }
    assert kinds == {"MatMulInteger": wanted, "Scan": wanted}


def hand_made(mu: Array, ratio: int, divisor: Array, quant: QuantParams) -> Model:
    """`w`: a sampled weight or bias of chosen constants, that a layer reads."""
    net = Layers(0, 7)
    net.value = net.flatten("x")
    code, build = QuantParams((1.0,), (0,), -127, 127), net.build
    ones = (1,) * (mu.ndim - 1)
    inputs = (
        build.constant("mu", mu, code),
        build.constant("sigma", np.full(mu.shape, 127, np.int8), code),
        net.emit(EpsCodes(mu.shape, 0), name="eps"),
        build.constant("R", np.full((1, *ones), ratio, np.int32)),
        build.constant("r", divisor.astype(np.float32).reshape(-1, *ones)),
    )
    sampled = net.emit(SampledWeightInteger(quant), *inputs, name="w")
    weight, bias = sampled, build.constant("b", np.zeros(len(mu), np.int32))
    if mu.ndim == 1:
        weight, bias = net.weight("weight", (len(mu), *net.value.type.shape), False), sampled
    return net.model(net.emit(LinearInteger(), net.value, weight, bias, name="acc"))


@pytest.mark.few(6)
@pytest.mark.parametrize("ratio", [1, 2, 65535])
@pytest.mark.parametrize("zeros", [(0,) * 4, (3, -128, 127, 0)])
@pytest.mark.parametrize("low", [-128, -127, -8])
@pytest.mark.parametrize("long", [1, 256])
def test_rounding_of_weights(
    ratio: int, zeros: tuple[int, ...], low: int, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ties (r is 2; 122 and 126, of which 1/r would lose some), the largest sums, extreme r.

    r is a scale, or divides before.
    """
    monkeypatch.setattr(sampled_weights, "_LONG", long)
    mu = np.random.default_rng(ratio).integers(-127, 128, (4, 196)).astype(np.int8)
    quant = QuantParams((0.5,) * 4, tuple(max(z, low) for z in zeros), low, 127, 0)
    for divisor in ([2, 122, 126, 1024], [1e-37, 0.1, 65535.3, 3e38]):
        model = hand_made(mu, ratio, np.array(divisor), quant)
        codes = assert_values_equal(model, 1)["w"]
        assert codes.shape == (3, 1, 4, 196)
        assert len(np.unique(codes)) > 2


@pytest.mark.parametrize("divisor", [2.0, 0.25, 1e-3, 1e-37])
def test_rounding_of_biases(divisor: float) -> None:
    mu = np.array([-127, 0, 5, 127], np.int8)
    quant = QuantParams((0.5,), (0,), -(2**30), 2**30)
    codes = assert_values_equal(hand_made(mu, 65535, np.array([divisor]), quant), 1)["w"]
    assert codes.dtype == np.int32
    assert (np.abs(codes).max() == 2**30) == (divisor < 0.01)


def test_what_is_not_exact_is_refused() -> None:
    mu, weight = np.full((4, 196), 127, np.int8), QuantParams((0.5,), (0,), -127, 127)
    with pytest.raises(CompileError, match="the ratio R of a sampled weight: 140000"):
        emit(hand_made(mu, 140_000, np.ones(1), weight))
    bias = QuantParams((0.5,), (3,), -(2**30), 2**30)
    with pytest.raises(CompileError, match="a float32 sum cannot be clipped"):
        emit(hand_made(mu[:, 0], 1, np.ones(1), bias))
    net = Layers()
    acc = net.sampled_layer(Conv2dInteger(folded=True), "conv", "weight")
    with pytest.raises(CompileError, match="offline terms"):
        emit(net.model(acc))


def scans_of_parts(model: Model) -> list[onnx.NodeProto]:
    nodes = onnx.load_model_from_string(emit(model)).graph.node
    return [n for n in nodes if n.op_type == "Scan" and n.output[0].endswith("/eps_parts")]


def test_large_weights_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part has as few channels as fill whole words. Codes and noise are in the file as ever."""
    monkeypatch.setattr(streams, "_MANY_WORDS", 1)
    monkeypatch.setattr(drawn_in_parts, "MOST_WORDS", 1)
    models = (
        random_integer_model(seed, ops="all", dropout=False, sampled=True) for seed in range(200)
    )
    found = list(islice((m for m in models if scans_of_parts(m)), 3))
    assert len(found) == 3
    for model in found:
        assert_equal(model, 2, samples=model.samples)
        assert_values_equal(model, 2)


@pytest.mark.few(4)
@pytest.mark.parametrize("most", [1, 300, 10**6])
@pytest.mark.parametrize("kind", ["tensor", "channel", "affine"])
@pytest.mark.parametrize("long", [196, 197])
def test_divisors_of_channels_and_of_tensors(
    kind: str, most: int, long: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A divisor is a scale of QuantizeLinear, if channels are long, or divides before."""
    monkeypatch.setattr(sampled_weights, "_LONG", long)
    monkeypatch.setattr(streams, "_MANY_WORDS", 1)
    monkeypatch.setattr(drawn_in_parts, "MOST_WORDS", most)
    channels, each = 6, 196
    scales, zeros = (0.25,) * channels, tuple(range(-3, 3)) if kind == "affine" else (0,) * channels
    quant = QuantParams(scales, zeros, -127, 127, 0)
    divisor = np.linspace(33, 201, channels)
    if kind == "tensor":
        quant, divisor = QuantParams((0.25,), (0,), -127, 127), divisor[:1]
    mu = np.random.default_rng(3).integers(-127, 128, (channels, each)).astype(np.int8)
    model = hand_made(mu, 3, divisor, quant)
    assert len(scans_of_parts(model)) == (most < 10**6 and kind != "affine")
    assert_values_equal(model, 2)


def test_the_file_holds_one_table_and_no_functions() -> None:
    model = next(
        m
        for m in (
            random_integer_model(s, members=2, ops="all", dropout=False, sampled=True)
            for s in range(99)
        )
        if any(isinstance(n.op, EpsCodes) for n in m.graph.nodes)
    )
    proto = onnx.load_model_from_string(emit(model))
    assert len(proto.SerializeToString()) < 65536
    exposed = proto.graph.output.add()
    exposed.name = "random/eps_table"
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    zeros = {i.name: np.zeros([2, *i.shape[1:]], np.float32) for i in session.get_inputs()[:1]}
    zeros |= {i.name: np.array(0) for i in session.get_inputs()[1:]}
    (table,) = session.run([exposed.name], zeros)
    assert np.array_equal(table, eps_table())
    assert not proto.functions
    assert "first_row" not in {name for n in proto.graph.node for name in n.input}


def test_a_sampled_layer_that_stays_float_is_found() -> None:
    """Inside a Scan, too: without its QuantizeLinear a fused kernel is none."""
    net = Layers(1, 7)
    net.value = net.input_of("both")
    model = net.model(net.requantize(net.sampled_layer(CONVOLUTIONS[0], "conv", "both"), "conv.q"))
    proto = onnx.load_model_from_string(emit(model))
    (scan,) = (n for n in proto.graph.node if n.op_type == "Scan")
    (body,) = (a.g for a in scan.attribute if a.name == "body")
    (quantizer,) = (n for n in body.node if n.op_type == "QuantizeLinear")
    assert float_compute_nodes(proto.SerializeToString()) == []
    quantizer.input[0] = "absolute"
    body.node.insert(
        list(body.node).index(quantizer),
        onnx.helper.make_node(
            "Abs", [next(n for n in body.node if n.op_type == "Conv").output[0]], ["absolute"]
        ),
    )
    found = float_compute_nodes(proto.SerializeToString())
    assert [name.split(":")[0] for name in found] in (["Conv"], ["FusedConv"])


def test_a_sample_of_weights_is_the_same_for_all_rows() -> None:
    net = Layers()
    model = net.model(net.sampled_layer(CONVOLUTIONS[0], "conv", "both"))
    x = np.repeat(input_batch(model, 1), 3, axis=0)
    (samples, *_) = artefact(model).predict(x, seed=1).values()
    assert (samples == samples[:, :1]).all()
    assert len(np.unique(samples[:, 0], axis=0)) == 3
