"""Models that no compiler makes, each with a true digest: refused with a place, or right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.ir.bounds import accumulator_bounds
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Concat,
    Dequantize,
    EpsCodes,
    LinearInteger,
    Lookup,
    LookupReal,
    MaxPool2d,
    Requantize,
    Reshape,
    SampledWeightInteger,
    Slice,
    SumPoolInteger,
    Transpose,
)
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array, DType, QuantParams, Stage
from qbnnc.support.errors import CompileError, Loc
from tests.runtime.nets import Net, codes

Make = Callable[[Net], None]
WEIGHT = QuantParams((0.5,), (0,), -127, 127)


def sampled(
    net: Net,
    ratio: int = 1,
    divisor: float = 1.0,
    index: Array | None = None,
    quant: QuantParams = WEIGHT,
) -> Value:
    """A weight [2, 8] of noise [4, 4]."""
    mu = net.constant(np.ones((2, 8), np.int8), WEIGHT)
    sigma = net.constant(np.ones((2, 8), np.int8), WEIGHT)
    eps = net.build.emit(EpsCodes((4, 4), 0), loc=Loc("noise"), name="noise")
    r = net.constant(np.full((1, 1), ratio, np.int32))
    d = net.constant(np.full((1, 1), divisor, np.float32))
    taken = () if index is None else (net.constant(index),)
    return net.emit(SampledWeightInteger(quant), mu, sigma, eps, r, d, *taken)


def noise_beyond_its_elements(net: Net) -> None:
    sampled(net, index=np.full((2, 8), 16, np.int32))
    net.emit(Dequantize())


def noise_before_its_elements(net: Net) -> None:
    sampled(net, index=np.full((2, 8), -1, np.int32))
    net.emit(Dequantize())


def ratio_too_large(net: Net) -> None:
    sampled(net, ratio=65536)
    net.emit(Dequantize())


def ratio_of_0(net: Net) -> None:
    sampled(net, ratio=0)
    net.emit(Dequantize())


def divisor_of_0(net: Net) -> None:
    sampled(net, divisor=0.0)
    net.emit(Dequantize())


def codes_that_float32_rounds(net: Net) -> None:
    sampled(net, quant=QuantParams((0.5,), (0,), -(2**31), 2**31 - 1))
    net.emit(Dequantize())


def table_beyond_its_type(net: Net) -> None:
    net.emit(Lookup(codes(0.03, 0, 2)), net.value, net.constant(np.full(128, 4, np.uint8)))


def table_too_short(net: Net) -> None:
    net.emit(LookupReal(), net.value, net.constant(np.zeros(127, np.float32)))


def computed_table(net: Net) -> None:
    entry = net.value
    same = net.emit(Reshape((128,)), net.constant(np.zeros((1, 128), np.uint8)))
    net.emit(Lookup(codes(0.03)), entry, same)


def sum_beyond_its_codes(net: Net) -> None:
    net.emit(AddQuantized(codes(0.03, 0, 2), 0, 255), net.value, net.value)


def float32_constant_moved(net: Net) -> None:
    net.emit(Transpose((1, 0)), net.constant(np.zeros((2, 3), np.float32)))


def float32_constants_joined(net: Net) -> None:
    c = net.constant(np.zeros(3, np.float32))
    net.emit(Concat(0), c, c)


def weight_beyond_its_codes(net: Net) -> None:
    quant = QuantParams((0.5,), (0,), -7, 7)
    weight = net.constant(np.full((2, 8), 8, np.int8), quant)
    net.emit(LinearInteger(), net.value, weight, net.bias(2))


def weight_without_room_for_its_codes(net: Net) -> None:
    quant = QuantParams((0.5,), (0,), -128, 200)
    weight = net.constant(np.zeros((2, 8), np.int8), quant)
    net.emit(LinearInteger(), net.value, weight, net.bias(2))


def zero_point_beyond_the_codes(net: Net) -> None:
    quant = QuantParams((0.5,), (9,), -7, 7)
    weight = net.constant(np.zeros((2, 8), np.int8), quant)
    net.emit(LinearInteger(), net.value, weight, net.bias(2))


def scales_of_no_axis(net: Net) -> None:
    quant = QuantParams((0.5,) * 3, (0,) * 3, -7, 7, 0)
    weight = net.constant(np.zeros((2, 8), np.int8), quant)
    net.emit(LinearInteger(), net.value, weight, net.bias(2))


def subnormal_multiplier(net: Net) -> None:
    net.linear(2)
    factor = net.constant(np.array([1e-3, 1e-40], np.float32))
    net.emit(Requantize(codes(0.1), 0, 127), net.value, factor)


def negative_multiplier(net: Net) -> None:
    net.linear(2)
    net.emit(Requantize(codes(0.1), 0, 127), net.value, net.constant(np.array([-1.0], np.float32)))


def codes_that_do_not_begin_at_0(net: Net) -> None:
    net.linear(2)
    factor = net.constant(np.array([0.01], np.float32))
    net.emit(Requantize(QuantParams((0.5,), (5,), 5, 9), 5, 9), net.value, factor)


def scales_of_activations_by_channel(net: Net) -> None:
    net.linear(2)
    quant = QuantParams((0.5, 0.25), (0, 0), 0, 127, 0)
    net.emit(Requantize(quant, 0, 127), net.value, net.constant(np.array([0.01], np.float32)))


def accumulators_pooled(net: Net) -> None:
    net.emit(Reshape((2, 2, 2)))
    net.conv(4, 1)
    net.emit(MaxPool2d((2, 2), (2, 2)))


REFUSED: list[tuple[Make, str]] = [
    (table_beyond_its_type, r"lookup2: lookup: the table holds 4\.\.4, and its codes are 0\.\.3"),
    (table_too_short, "is no table for"),
    (computed_table, "the table is not a constant"),
    (sum_beyond_its_codes, r"0\.\.255 is outside 0\.\.3"),
    (float32_constant_moved, "computes on a float32 constant"),
    (float32_constants_joined, "computes on a float32 constant"),
    (weight_beyond_its_codes, r"codes outside -7\.\.7"),
    (weight_without_room_for_its_codes, r"i8 does not hold codes -128\.\.200"),
    (zero_point_beyond_the_codes, r"a zero point is outside -7\.\.7"),
    (scales_of_no_axis, "3 scales do not fit an axis of 2"),
    (subnormal_multiplier, "the multiplier 9.99995e-41 is not a positive, normal float32"),
    (negative_multiplier, "the multiplier -1 is not"),
    (codes_that_do_not_begin_at_0, "u8 codes begin at 0 and have one scale"),
    (scales_of_activations_by_channel, "u8 codes begin at 0 and have one scale"),
    (accumulators_pooled, "takes real numbers or u8 codes"),
    (noise_beyond_its_elements, r"the index of the noise is 16\.\.16, and it has 16 elements"),
    (noise_before_its_elements, r"the index of the noise is -1\.\.-1"),
    (ratio_too_large, "the ratio R of a sampled weight: 65536, and it must be at most 65535"),
    (ratio_of_0, "the ratio R of a sampled weight: 0, and it must be at least 1"),
    (divisor_of_0, "the divisor 0 is not"),
    (codes_that_float32_rounds, "a float32 sum cannot be clipped"),
]


@pytest.mark.parametrize(("make", "says"), REFUSED, ids=[make.__name__ for make, _ in REFUSED])
def test_values_are_held_to_their_types(make: Make, says: str) -> None:
    net = Net((8,))
    entry = net.value
    with pytest.raises(CompileError, match=says):
        model_of(net, make, entry).check()


def model_of(net: Net, make: Make, entry: Value) -> Model:
    """A graph whose outputs are the value that `make` builds, and the input's codes."""
    make(net)
    made = net.value if net.value.type.dtype is DType.F32 else net.emit(Dequantize())
    rest = net.build.emit(Dequantize(), entry, loc=Loc("rest"), name="rest")
    return Model((net.build.graph((made, rest), Stage.INTEGER),), Head(Task.RAW))


def test_an_overflow_that_only_a_lying_table_allows_is_refused() -> None:
    """Codes 0..3 by their type, 255 by the table: the proof of 70,000 products would be false."""
    net = Net((70_000,))
    net.emit(Lookup(codes(0.03, 0, 2)), net.value, net.constant(np.full(128, 255, np.uint8)))
    weight = net.constant(np.full((1, 70_000), 127, np.int8), WEIGHT)
    net.emit(LinearInteger(), net.value, weight, net.bias(1))
    with pytest.raises(CompileError, match=r"the table holds 255\.\.255"):
        net.model()


def test_a_window_that_may_lie_in_the_padding_has_the_code_0_too() -> None:
    """All codes are 100 or more, but a window of padding alone gives 0, which is 100 below Z."""
    net = Net((1, 4, 4), quant=codes(0.03, 100))
    net.emit(ClampCodes(100, 127))
    net.emit(MaxPool2d((2, 2), (2, 2), (2, 2, 2, 2)))
    least = int(oracle_values(net, np.ones((1, 1, 4, 4), np.float32))[net.value.name].min())
    assert least == 0
    net.emit(SumPoolInteger((4, 4), (4, 4)))
    graph = net.graph()
    node = next(n for n in graph.nodes if isinstance(n.op, SumPoolInteger))
    bounds = accumulator_bounds(graph, node)
    assert bounds is not None
    assert (bounds.low, bounds.high) == (-1600, 432)


def oracle_values(net: Net, x: Array) -> dict[str, Array]:
    """The value of each node made so far."""
    values: dict[str, Array] = {}
    graph = net.build.graph((net.value,), Stage.INTEGER)
    evaluate(graph, x, Draw.of(0, [0], [0]), lambda v, array: values.update({v.name: array}))
    return values


def test_a_folded_bias_is_a_number_mod_2_to_the_32() -> None:
    """Z sum w' leaves int32, the accumulators do not: the proof, the oracle and int32 agree."""
    count = 70_000
    net = Net((count,), quant=codes(0.03, 255, 8))
    array = np.full((1, count), 127, np.int8)
    zeros, bias = 255 * 127 * count, 5
    assert zeros > 2**31
    weight = net.constant(array, WEIGHT)
    wrapped = (bias - zeros + 2**31) % 2**32 - 2**31
    net.emit(ClampCodes(254, 255))
    net.emit(
        LinearInteger(folded=True), net.value, weight, net.constant(np.array([wrapped], np.int32))
    )
    acc = net.value.name
    graph = net.graph()
    node = next(n for n in graph.nodes if isinstance(n.op, LinearInteger))
    bounds = accumulator_bounds(graph, node)
    assert bounds is not None
    assert (bounds.low, bounds.high) == (bias - 127 * count, bias)
    values: dict[str, Array] = {}
    x = np.zeros((1, count), np.float32)
    x[0, :10] = -9.0
    evaluate(graph, x, Draw.of(0, [0], [0]), lambda v, array: values.update({v.name: array}))
    assert values[acc].tolist() == [[[bias - 127 * 10]]]


@pytest.mark.parametrize("pairs", [40, 400])
def test_ranges_of_codes_take_linear_time(pairs: int) -> None:
    """Each pair reads its input twice: 2^40 paths."""
    net = Net((2,))
    for _ in range(pairs):
        net.emit(Concat(0), net.value, net.value)
        net.emit(Slice(0, 0, 2))
    net.linear(1)
    model = net.model()
    assert format.digest(format.from_bytes(format.to_bytes(model))) == format.digest(model)


def test_a_long_chain_is_read_without_recursion() -> None:
    net = Net((4,))
    for number in range(3000):
        net.emit(Reshape((2, 2) if number % 2 == 0 else (4,)))
    net.linear(1)
    assert len(format.from_bytes(format.to_bytes(net.model())).graph.nodes) == 3003
