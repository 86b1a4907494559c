"""Bounds of accumulators against every input that a tiny layer can have, summed term by term."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.bounds import AccumulatorBounds, accumulator_bounds, check_bounds
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.ops import (
    ClampCodes,
    Concat,
    Conv2dInteger,
    EpsCodes,
    KeepMask,
    LinearInteger,
    MaxPool2d,
    MultiplyInteger,
    Op,
    Pad,
    QuantizeInput,
    Reshape,
    SampledWeightInteger,
    Select,
    Slice,
    SumPoolInteger,
    Transpose,
)
from qbnnc.ir.ops.unary import Lookup
from qbnnc.ir.ranges import CodeRanges
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.ir.weights import ChannelSums
from qbnnc.support.errors import CompileError, Loc

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


@pytest.mark.parametrize(
    ("op", "taken", "ends"),
    [
        (Reshape((1, 2, 8)), (7, 11), (0, 6)),
        (Transpose((0, 2, 1)), (1, 3), (-4, 0)),
        (Slice(1, 0, 2), (3, 11), (-2, 6)),
        (Pad((1, 1, 1, 1)), (1, 3), (-4, 0)),
        (ClampCodes(4, 9), (3, 11), (-1, 4)),
        (MaxPool2d((2, 2), (2, 2)), (7, 11), (0, 6)),
        (MaxPool2d((2, 2), (2, 2)), (4, 6), (-1, 1)),
        (MaxPool2d((2, 2), (2, 2), (1, 1, 1, 1)), (4, 6), (-1, 1)),  # each window meets a code
        (MaxPool2d((1, 1), (1, 1), (1, 1, 1, 1)), (4, 6), (-5, 1)),  # a window of padding alone
    ],
    ids=str,
)
def test_codes_that_move_keep_their_ends(
    op: Op, taken: tuple[int, int], ends: tuple[int, int]
) -> None:
    """q - Z for Z = 5, with 0; a max pool of padding alone gives the least code, 0."""
    build, x = entered((1, 4, 4), taken)
    y = build.emit(op, x, loc=LOC, name="moved")
    assert CodeRanges(build.graph((y,), Stage.INTEGER)).centred(y) == ends


@pytest.mark.parametrize(("taken", "ends"), [((3, 11), (-2, 6)), ((1, 3), (-4, 0))])
def test_a_dropped_code_is_the_zero_point(taken: tuple[int, int], ends: tuple[int, int]) -> None:
    build, x = entered((1, 4, 4), taken)
    keep = build.emit(KeepMask((1, 4, 4), 0.5, 0), loc=LOC, name="keep")
    y = build.emit(Select(), x, keep, loc=LOC, name="dropped")
    assert CodeRanges(build.graph((y,), Stage.INTEGER)).centred(y) == ends


def test_joined_codes_have_the_ends_of_both() -> None:
    build, x = entered((1, 4, 4), (1, 14))
    clamps = [
        build.emit(ClampCodes(*ends), x, loc=LOC, name=f"{ends}") for ends in ((4, 12), (2, 9))
    ]
    for order in (clamps, clamps[::-1]):
        y = build.emit(Concat(0), *order, loc=LOC, name=f"cat {order[0].name}")
        assert CodeRanges(build.graph((y,), Stage.INTEGER)).centred(y) == (-3, 7)


def test_constants_and_tables_have_all_codes() -> None:
    build, x = entered((3,), (7, 11))
    constant = build.constant("constant", np.zeros(3, np.uint8), CODES)
    entries = build.constant("entries", np.zeros(16, np.uint8))
    made = build.emit(Lookup(CODES), x, entries, loc=LOC, name="made")
    ranges = CodeRanges(build.graph((constant, made), Stage.INTEGER))
    assert ranges.centred(constant) == ranges.centred(made) == (-5, 10)


@pytest.mark.parametrize(
    ("low", "high", "bits", "fits"),
    [
        (-1, 0, 1, True),
        (0, 1, 2, True),
        (-2, 1, 2, True),
        (-3, 1, 3, True),
        (-128, 127, 8, True),
        (-128, 128, 9, True),
        (-(2**31), 2**31 - 1, 32, True),
        (-(2**31) - 1, 0, 33, False),
        (0, 2**31, 33, False),
    ],
)
def test_bits_are_those_of_twos_complement(low: int, high: int, bits: int, fits: bool) -> None:
    bounds = AccumulatorBounds(low, high, max(-low, high), saturates=False)
    assert bounds.bits == bits
    assert bounds.fits_int32 == fits


@pytest.mark.parametrize(("largest", "exact"), [(2**24 - 1, True), (2**24, False)])
def test_float32_holds_sums_below_2_to_the_24(largest: int, exact: bool) -> None:
    assert AccumulatorBounds(0, 0, largest, saturates=False).exact_in_float32 is exact


@pytest.mark.parametrize(("excess", "refused"), [(0, False), (1, True)])
def test_the_last_accumulator_that_fits(excess: int, refused: bool) -> None:
    """x' = 10 at most, w = 3: the bias may be 2^31 - 1 - 30."""
    for sign in (1, -1):
        end = 2**31 - 1 if sign > 0 else 2**31
        bias = sign * (end - 30 + excess)
        graph = layer(LinearInteger(), (1,), np.array([[3 * sign]]), [bias])
        if refused:
            with pytest.raises(CompileError, match=r"^layer \(net\.py:1\): the accumulators could"):
                check_bounds(graph)
        else:
            check_bounds(graph)


@pytest.mark.parametrize(
    ("top", "weight", "saturates"),
    [(128, (-127, 127), False), (129, (-127, 127), True), (255, (-63, 63), False)],
)
def test_two_products_may_leave_int16(top: int, weight: tuple[int, int], saturates: bool) -> None:
    """2 * 128 * 127 is below 2^15, and 2 * 129 * 127 is not."""
    build = Builder()
    x = build.input("input", TensorType(DType.F32, (1,), PER_ROW))
    codes = QuantParams((0.5,), (0,), 0, top)
    q = build.emit(QuantizeInput((0.0,), (0.5,), codes, 0, top), x, loc=LOC, name="codes")
    w = build.constant("weight", np.ones((1, 1), np.int8), QuantParams((1.0,), (0,), *weight))
    b = build.constant("bias", np.zeros(1, np.int32))
    made = build.emit(LinearInteger(), q, w, b, loc=LOC, name="layer")
    assert bounds_of(build.graph((made,), Stage.INTEGER)).saturates is saturates


def test_sums_of_weights_are_worked_out_once() -> None:
    graph = layer(LinearInteger(), (3,), np.array(WEIGHTS["mixed"]), [1, 2])
    known: dict[tuple[int, QuantParams], ChannelSums] = {}
    check_bounds(graph, known)
    (kept,) = known.values()
    check_bounds(graph, known)
    assert [*known.values()] == [kept]


def test_nodes_that_make_no_accumulators_have_no_bounds() -> None:
    graph = layer(LinearInteger(), (3,), np.array(WEIGHTS["mixed"]), [1, 2])
    assert accumulator_bounds(graph, graph.nodes[0]) is None
