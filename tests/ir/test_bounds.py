"""Bounds of accumulators against every input that a tiny layer can have, summed term by term."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.bounds import AccumulatorBounds, accumulator_bounds
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.ops import (
    Conv2dInteger,
    EpsCodes,
    LinearInteger,
    MultiplyInteger,
    Op,
    QuantizeInput,
    SampledWeightInteger,
    SumPoolInteger,
)
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc

Int64 = NDArray[np.int64]

LOC = Loc("layer", "net.py:1")
# The codes of x in 4 bits, Z = 5, and the codes that are taken: all, a clamp's, and no zero point.
CODES = QuantParams((0.5,), (5,), 0, 15)
TAKEN = [(0, 15), (3, 9), (5, 12), (7, 11), (1, 4)]
SYMMETRIC = QuantParams((0.25,), (0,), -3, 3)
SHIFTED = QuantParams((0.25, 0.5), (2, -1), -4, 3, 0)


def entered(shape: tuple[int, ...], taken: tuple[int, int]) -> tuple[Builder, Value]:
    """A builder, and the codes of an input, of which only some are taken."""
    build = Builder()
    x = build.input("input", TensorType(DType.F32, shape, PER_ROW))
    op = QuantizeInput((0.0,), CODES.scale, CODES, *taken)
    return build, build.emit(op, x, loc=LOC, name="codes")


def layer(
    op: Op,
    shape: tuple[int, ...],
    weight: Int64,
    bias: list[int],
    taken: tuple[int, int] = (0, 15),
    quant: QuantParams = SYMMETRIC,
) -> Graph:
    """One layer of constant codes."""
    build, x = entered(shape, taken)
    codes = build.constant("weight", weight.astype(np.int8), quant)
    shift = build.constant("bias", np.array(bias, np.int32))
    made = build.emit(op, x, codes, shift, loc=LOC, name="layer")
    return build.graph((made,), Stage.INTEGER)


def bounds_of(graph: Graph) -> AccumulatorBounds:
    """The bounds of the last node."""
    bounds = accumulator_bounds(graph, graph.nodes[-1])
    assert bounds is not None
    return bounds


def reached(terms: Iterator[tuple[int, list[int]]]) -> tuple[int, int, int]:
    """The least and greatest sum of bias and terms, and the largest sum of their sizes."""
    sums = [(bias + sum(each), abs(bias) + sum(map(abs, each))) for bias, each in terms]
    return min(s for s, _ in sums), max(s for s, _ in sums), max(size for _, size in sums)


def linear_terms(
    weight: Int64, bias: list[int], zeros: tuple[int, ...], taken: tuple[int, int]
) -> Iterator[tuple[int, list[int]]]:
    """The bias and the products of each channel, for every input; a 0 is allowed for each."""
    inputs = sorted({*range(taken[0] - 5, taken[1] - 5 + 1), 0})
    for x in product(inputs, repeat=weight.shape[1]):
        for n, row in enumerate(weight.tolist()):
            zero = zeros[n % len(zeros)]
            yield bias[n], [a * (w - zero) for a, w in zip(x, row, strict=True)]


WEIGHTS = {
    "mixed": [[3, -2, 1], [-1, 2, -3]],
    "positive": [[1, 2, 3], [0, 3, 1]],
    "negative": [[-1, -2, -3], [-3, 0, -1]],
}


@pytest.mark.few(6)
@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("quant", [SYMMETRIC, SHIFTED], ids=["symmetric", "zero points"])
@pytest.mark.parametrize("kind", WEIGHTS)
def test_a_linear_layer_reaches_its_bounds(
    kind: str, quant: QuantParams, taken: tuple[int, int]
) -> None:
    weight, bias = np.array(WEIGHTS[kind]), [40, -17]
    found = bounds_of(layer(LinearInteger(), (3,), weight, bias, taken, quant))
    low, high, size = reached(linear_terms(weight, bias, quant.zero_point, taken))
    assert (found.low, found.high, found.largest_sum) == (low, high, size)


def convolution_terms(
    weight: Int64, bias: list[int], padding: int, groups: int
) -> Iterator[tuple[int, list[int]]]:
    """The bias and the products of every window of every image [C, 2, 2] of codes 3..7."""
    outputs, own, height, width = weight.shape
    for image in product((-2, 2), repeat=4 * own * groups):
        padded = np.pad(np.reshape(image, (own * groups, 2, 2)), ((0, 0), *[(padding,) * 2] * 2))
        for n in range(outputs):
            first = n // (outputs // groups) * own
            for top in range(padded.shape[1] - height + 1):
                for left in range(padded.shape[2] - width + 1):
                    window = padded[first : first + own, top : top + height, left : left + width]
                    yield bias[n], (window * weight[n]).reshape(-1).tolist()


@pytest.mark.parametrize(
    ("shape", "padding", "groups"),
    [((2, 1, 2, 2), 0, 1), ((2, 1, 3, 3), 1, 1), ((2, 2, 2, 2), 0, 1), ((4, 1, 2, 2), 1, 2)],
)
def test_a_convolution_reaches_its_bounds(
    shape: tuple[int, ...], padding: int, groups: int
) -> None:
    weight = np.random.default_rng(sum(shape)).integers(-3, 4, shape)
    if shape[2] == 3:  # a window never lies within the image: weights that only its corners meet
        weight[:, :, 1, 1] = 0
        weight[:, :, 0] = weight[:, :, 2] = 0
        weight[:, :, :, 0] = 0
    bias = [11, -23, 5, 0][: shape[0]]
    op = Conv2dInteger((1, 1), (padding,) * 4, (1, 1), groups)
    graph = layer(op, (shape[1] * groups, 2, 2), weight, bias, (3, 7))
    low, high, size = reached(convolution_terms(weight, bias, padding, groups))
    found = bounds_of(graph)
    assert (found.low, found.high, found.largest_sum) == (low, high, size)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("taken", TAKEN)
def test_padding_counts_as_the_zero_point(padding: int, taken: tuple[int, int]) -> None:
    """Codes that are all above the zero point: the window that meets padding has the least sum."""
    weight = np.array([[[[2]]], [[[-3]]]])
    op = Conv2dInteger(padding=(padding,) * 4)
    found = bounds_of(layer(op, (1, 1, 1), weight, [0, 0], taken))
    ends = [w * x for w in (2, -3) for x in (taken[0] - 5, taken[1] - 5, 0)]
    assert (found.low, found.high) == (min(ends), max(ends))


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("kernel", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_a_window_of_an_average_pool_reaches_its_bounds(
    kernel: tuple[int, int], taken: tuple[int, int]
) -> None:
    build, x = entered((1, 2, 2), taken)
    made = build.emit(SumPoolInteger(kernel, (1, 1)), x, loc=LOC, name="pool")
    found = bounds_of(build.graph((made,), Stage.INTEGER))
    inputs = sorted({*range(taken[0] - 5, taken[1] - 4), 0})
    low, high, size = reached((0, list(x)) for x in product(inputs, repeat=kernel[0] * kernel[1]))
    assert (found.low, found.high, found.largest_sum) == (low, high, size)
    assert not found.saturates


@pytest.mark.few(5)
@pytest.mark.parametrize("first", TAKEN)
@pytest.mark.parametrize("second", TAKEN)
def test_a_product_reaches_its_bounds(first: tuple[int, int], second: tuple[int, int]) -> None:
    build, x = entered((2,), first)
    op = QuantizeInput((0.0,), CODES.scale, CODES, *second)
    y = build.emit(op, build.graph((x,), Stage.INTEGER).input, loc=LOC, name="other")
    made = build.emit(MultiplyInteger(), x, y, loc=LOC, name="product")
    found = bounds_of(build.graph((made,), Stage.INTEGER))
    a, b = (sorted({*range(t[0] - 5, t[1] - 4), 0}) for t in (first, second))
    low, high, size = reached((0, [p * q]) for p in a for q in b)
    assert (found.low, found.high, found.largest_sum) == (low, high, size)
    assert not found.saturates


@pytest.mark.parametrize("taken", TAKEN)
def test_a_folded_bias_holds_the_terms_of_the_zero_point(taken: tuple[int, int]) -> None:
    """offset = q_b - Z_x sum w': the bounds of the accumulators are those of q_b."""
    weight, bias = np.array(WEIGHTS["mixed"]), [40, -17]
    folded = [b - 5 * int(row.sum()) for b, row in zip(bias, weight, strict=True)]
    found = bounds_of(layer(LinearInteger(folded=True), (3,), weight, folded, taken))
    low, high, size = reached(linear_terms(weight, bias, (0,), taken))
    assert (found.low, found.high, found.largest_sum) == (low, high, size)


def test_a_folded_bias_is_known_mod_2_to_the_32() -> None:
    """q_b = 2^31 - 3 with Z_x sum w' = -10 does not fit int32; its offset wraps."""
    weight = np.array([[-2, 0, 0]])
    true = 2**31 - 3
    folded = (true + 10 + 2**31) % 2**32 - 2**31
    assert folded < 0
    found = bounds_of(layer(LinearInteger(folded=True), (3,), weight, [folded], (5, 6)))
    assert (found.low, found.high) == (true - 2, true)


def sampled(folded: bool, taken: tuple[int, int], *, bias: bool = False) -> Graph:
    """A layer [2, 2] whose weight is sampled, with R = 2 and r = 40; perhaps its bias too."""
    build, x = entered((2,), taken)
    rounded = QuantParams((0.25, 0.5), (1, 0), -7, 7, 0)
    weight = _sampled(build, "weight", np.array(MU), np.array(SIGMA), rounded)
    if bias:
        wide = QuantParams((1.0,), (0,), -(2**30), 2**30)
        shift = _sampled(build, "bias", np.array(BIAS_MU), np.array(BIAS_SIGMA), wide)
    else:
        shift = build.constant("bias", np.array([9, -30], np.int32))
    made = build.emit(LinearInteger(folded=folded), x, weight, shift, loc=LOC, name="layer")
    return build.graph((made,), Stage.INTEGER)


MU, SIGMA = [[60, -100], [0, 20]], [[1, 0], [2, -1]]
BIAS_MU, BIAS_SIGMA = [50, -120], [3, 1]


def _sampled(build: Builder, name: str, mu: Int64, sigma: Int64, quant: QuantParams) -> Value:
    codes = QuantParams((1.0,), (0,), -127, 127)
    eps = build.emit(EpsCodes(mu.shape, 0), loc=LOC, name=f"{name}.eps")
    ones = [1] * mu.ndim
    inputs = (
        build.constant(f"{name}.mu", mu.astype(np.int8), codes),
        build.constant(f"{name}.sigma", sigma.astype(np.int8), codes),
        eps,
        build.constant(f"{name}.ratio", np.full(ones, 2, np.int32)),
        build.constant(f"{name}.divisor", np.full(ones, 40, np.float32)),
    )
    return build.emit(SampledWeightInteger(quant), *inputs, loc=LOC, name=name)


def sample_codes(mu: int, sigma: int, zero: int, limit: int) -> set[int]:
    """Every q - Z of one sampled number: round((eps sigma + R mu)/r), clipped before."""
    exact = [eps * sigma + 2 * mu for eps in range(-127, 128)]
    return {round(min(max(e / 40, -limit - zero), limit - zero)) for e in exact}


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("noisy_bias", [False, True])
def test_a_sampled_layer_reaches_its_bounds(taken: tuple[int, int], noisy_bias: bool) -> None:
    found = bounds_of(sampled(False, taken, bias=noisy_bias))
    assert (found.low, found.high, found.largest_sum) == _reached_by_samples(
        sorted({*range(taken[0] - 5, taken[1] - 4), 0}), noisy_bias
    )


@pytest.mark.parametrize("taken", TAKEN)
def test_the_terms_of_a_folded_sampled_layer_are_not_known(taken: tuple[int, int]) -> None:
    """The sums are those of codes, not of codes less the zero point."""
    found = bounds_of(sampled(True, taken))
    codes = sorted({*range(taken[0], taken[1] + 1), 5})
    assert (found.low, found.high, found.largest_sum) == _reached_by_samples(codes, False)


def _reached_by_samples(inputs: list[int], noisy_bias: bool) -> tuple[int, int, int]:
    def terms() -> Iterator[tuple[int, list[int]]]:
        for n, (mus, sigmas) in enumerate(zip(MU, SIGMA, strict=True)):
            pairs = zip(mus, sigmas, strict=True)
            weights = [_ends(sample_codes(mu, s, (1, 0)[n], 7)) for mu, s in pairs]
            biases = {(9, -30)[n]}
            if noisy_bias:
                biases = _ends(sample_codes(BIAS_MU[n], BIAS_SIGMA[n], 0, 2**30))
            for bias, *ws in product(biases, *weights):
                for x in product(_ends({*inputs}), repeat=2):
                    yield bias, [a * w for a, w in zip(x, ws, strict=True)]

    return reached(terms())


def _ends(numbers: set[int]) -> set[int]:
    """A product is greatest and least at ends, and at 0 where that is between them."""
    return {min(numbers), max(numbers)} | ({0} & numbers)
