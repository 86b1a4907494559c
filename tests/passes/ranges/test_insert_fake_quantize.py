"""Scales of weights and biases, from the numbers alone."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Concat, FakeQuantize, Linear
from qbnnc.ir.types import QuantParams
from qbnnc.passes.options import Bits, Quantisation, Rounding, Scales, WeightScheme
from qbnnc.passes.ranges.calibrate import Calibration, Observer
from qbnnc.passes.ranges.insert_fake_quantize import InsertFakeQuantize
from tests.net import Net

SCHEMES = list(WeightScheme)


def layer(weight: list[list[float]], bias: list[float]) -> Graph:
    net = Net((len(weight[0]),))
    w = net.build.constant("fc.weight", np.array(weight, np.float32))
    b = net.build.constant("fc.bias", np.array(bias, np.float32))
    return net.emit(Linear(), w, b, name="fc").graph()


def scales_of(
    graph: Graph, options: Quantisation, top: float = 255.0
) -> tuple[QuantParams, QuantParams]:
    """The codes of weight and bias, of an input 0..top: its scale is top / 255."""
    simulated = InsertFakeQuantize(lambda _: {"input": (0.0, top)}, options)(graph)
    quants = {n.output.name: n.op.quant for n in simulated.nodes if isinstance(n.op, FakeQuantize)}
    return quants["fc.weight.codes"], quants["fc.bias.codes"]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_largest_bias_of_a_dead_channel_has_2_to_the_23_codes(
    scheme: WeightScheme, sign: int
) -> None:
    """S_w = |b|/(S_x 2^23), so that b/(S_x S_w) is 2^23."""
    graph = layer([[0.0, 0.0], [0.0, 0.0]], [sign * 3.0, sign * 1.5])
    weight, bias = scales_of(graph, Quantisation(Bits(8, 8), scheme), top=25.5)
    codes = 3.0 / bias.scale[0]
    assert abs(codes - 2**23) <= 1
    if scheme.per_channel:
        assert abs(1.5 / bias.scale[1] - 2**23) <= 1
    assert weight.scale[0] == pytest.approx(3.0 / 0.1 / 2**23, rel=1e-6)


def test_a_bias_that_fits_leaves_the_scale_to_the_weight() -> None:
    graph = layer([[1.27, -0.5], [0.3, 2.54]], [1.0, -1.0])
    weight, bias = scales_of(graph, Quantisation(Bits(8, 8)))
    assert weight.scale == (float(np.float32(0.01)), float(np.float32(0.02)))
    assert bias.scale == pytest.approx((0.01, 0.02), rel=1e-6)
    assert (bias.low, bias.high) == (-(2**30), 2**30)
    assert (weight.low, weight.high) == (-127, 127)


def test_the_scale_of_the_accumulators_has_the_scale_of_the_input() -> None:
    graph = layer([[1.27, -0.5], [0.3, 2.54]], [1.0, -1.0])
    _, bias = scales_of(graph, Quantisation(Bits(8, 8)), top=51.0)
    assert bias.scale == pytest.approx((0.2 * 0.01, 0.2 * 0.02), rel=1e-6)


def test_powers_of_two_are_not_below_the_scale() -> None:
    graph = layer([[1.27, -0.5], [0.3, 2.54]], [1.0, -1.0])
    weight, _ = scales_of(graph, Quantisation(Bits(8, 8), scales=Scales.POW2))
    assert weight.scale == (2.0**-6, 2.0**-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_sampled_weight_has_as_many_scales_as_the_scheme_says(scheme: WeightScheme) -> None:
    """The mean, the deviation and the samples; mean and deviation have zero point 0."""
    graph = Net((3,)).bayesian(4, "fc", Linear()).graph()
    simulated = InsertFakeQuantize(
        lambda _: {"input": (0.0, 1.0)}, Quantisation(Bits(5, 8), scheme)
    )(graph)
    quants = {n.output.name: n.op.quant for n in simulated.nodes if isinstance(n.op, FakeQuantize)}
    count = 4 if scheme.per_channel else 1
    for name in ("fc.weight.mu", "fc.weight.sigma", "fc.weight"):
        quant = quants[f"{name}.codes"]
        assert len(quant.scale) == count, name
        assert quant.axis == (0 if scheme.per_channel else None)
        if name != "fc.weight":
            assert (quant.low, quant.high, {*quant.zero_point}) == (-127, 127, {0})


def test_the_mean_and_deviation_of_a_sampled_weight_or_bias_have_8_bits() -> None:
    """The samples of the weight alone have 3."""
    graph = Net((3,)).bayesian(4, "fc", Linear()).graph()
    simulated = InsertFakeQuantize(lambda _: {"input": (0.0, 1.0)}, Quantisation(Bits(3, 8)))(graph)
    quants = {n.output.name: n.op.quant for n in simulated.nodes if isinstance(n.op, FakeQuantize)}
    assert quants["fc.weight.codes"].high == 3
    assert quants["fc.weight.mu.codes"].high == quants["fc.weight.sigma.codes"].high == 127
    assert quants["fc.bias.mu.codes"].high == quants["fc.bias.sigma.codes"].high == 127
    assert quants["fc.bias.codes"].high == 2**30


@pytest.mark.parametrize(
    ("masked", "ends"),
    [
        ((-64.5, 63.0), (-129.0, 127.0)),
        ((-63.5, 64.0), (-128.0, 128.0)),
        ((-64.2, 12.3), None),  # twice -64.2 is less than half a step below -128
    ],
)
def test_joined_values_keep_the_first_scale_if_it_reaches_as_far_to_half_a_step(
    masked: tuple[float, float], ends: tuple[float, float] | None
) -> None:
    """The first has codes of 1 from -128 to 127. A mask doubles the second, which it joins."""
    net = Net((4,))
    x = net.value
    first = net.linear(4, "first").value
    net.value = x
    second = net.linear(4, "second").dropout(0.5, "dropout").value
    net.value = first
    net.emit(Concat(0), second, name="joined").linear(2, "last")
    ranges = {
        "input": (0.0, 255.0), "first": (-128.0, 127.0), "second": masked, "last": (-9.0, 9.0)
    }  # fmt: skip
    graph = InsertFakeQuantize(lambda _: ranges, Quantisation(Bits(8, 8)))(net.graph())
    (joined,) = [node.output.type.quant for node in graph.nodes if isinstance(node.op, Concat)]
    assert joined is not None
    scale, zero = joined.per_tensor
    low, high = ((code - zero) * scale for code in (joined.low, joined.high))
    if ends is None:
        assert (scale, low, high) == (1.0, -128.0, 127.0)
    else:
        assert scale == pytest.approx((ends[1] - ends[0]) / 255)
        assert (low, high) == pytest.approx(ends, abs=0.51 * scale)


@pytest.mark.parametrize(
    ("bits", "low", "high", "scale", "zero"),
    [(2, -2, 1, 1.0, -2), (3, -4, 3, 3 / 7, -4), (4, -7, 7, 3 / 7, 0)],
)
def test_weights_of_3_bits_or_less_are_affine(
    bits: int, low: int, high: int, scale: float, zero: int
) -> None:
    """The weights 0, 1, 2 and 3 have a code each at 2 bits, and no code lies below 0."""
    options = Quantisation(Bits(bits, 8), rounding=Rounding.NEAREST)
    how = Calibration(Observer.MINMAX)
    simulated = InsertFakeQuantize(lambda _: {"input": (0.0, 1.0)}, options, how)(
        layer([[0.0, 1.0, 2.0, 3.0]], [0.0])
    )
    quants = {n.output.name: n.op.quant for n in simulated.nodes if isinstance(n.op, FakeQuantize)}
    weight = quants["fc.weight.codes"]
    assert (weight.low, weight.high, weight.zero_point) == (low, high, (zero,))
    assert weight.scale == pytest.approx((scale,), rel=1e-6)
    assert options.scheme().split(", ")[0] == (
        "channel-symmetric" if bits == 4 else "channel-affine"
    )
