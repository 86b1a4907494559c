"""A test whether two sets of samples have one distribution, without assuming normality.

Samples of the module and of the graph are paired, x_i with y_i, or in groups of m, and a statistic
of each pair is subtracted. If both have one distribution, the differences d_1 .. d_n are symmetric
about 0, whatever that distribution is. For symmetric d, with T = sum d / sqrt(sum d^2),

    P(|T| >= t) <= 2 exp(-t^2 / 2)        (Hoeffding 1963, Efron 1969)

for every n. So the false-alarm rate holds for few samples and for outputs that are not normal.
Bonferroni's correction counts all comparisons of a compile. Rows may depend on each other: each
comparison is over calls, and a call counts once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

FALSE_ALARM = 1e-4  # for one compile, all comparisons together
POWER = 0.99
_NORMAL_99 = 2.3263  # Phi^-1(POWER)
_NEGLIGIBLE = 1e-3  # share of a standard deviation, or correlation: no fault is so small
_ROUNDING = 1e-4  # share of the largest output, for float32 arithmetic in another order
_MOST_PAIRED = 12  # elements whose correlations are compared pair by pair


class Quantity(Enum):
    """The quantities that are compared."""

    MEAN = "mean"
    STANDARD_DEVIATION = "standard deviation"
    ROWS = "correlation between rows"
    OUTPUTS = "correlation between outputs"
    CALLS = "correlation between calls"


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantity in which the two sets differ.

    `row` or `element` is None if the quantity belongs to all of them. `element` counts through the
    compared elements of all outputs. `bound` is the probability that samples of one distribution
    differ so much, before Bonferroni's correction.
    """

    quantity: Quantity
    row: int | None
    element: int | None
    module: float
    graph: float
    bound: float


@dataclass(frozen=True, slots=True)
class Power:
    """The least differences that are found with 99 % probability, of normal outputs.

    `mean` is in standard deviations, `standard_deviation` is a share of one, and `correlation` is a
    number. inf means that so few samples find no difference.
    """

    mean: float
    standard_deviation: float
    correlation: float


def group_size(samples: int) -> int:
    """The number m of samples for one estimate of a variance or correlation."""
    return 8 if samples >= 8192 else 4


def compare(
    module: Float64,
    graph: Float64,
    skipped: frozenset[Quantity] = frozenset(),
    comparisons: int | None = None,
) -> list[Difference]:
    """The differences between samples [N, B, E] of module and graph, the surest first.

    `comparisons` is Bonferroni's divisor; None takes the number for these arrays. ValueError: the
    arrays are not finite, or not of one shape.
    """
    if module.shape != graph.shape or not (np.isfinite(module).all() & np.isfinite(graph).all()):
        raise ValueError("samples of one shape, all of them finite, can be compared")
    pair = _Pair(module, graph)
    tests = [test for test in _tests(pair) if test.quantity not in skipped]
    divisor = comparisons or number_of_comparisons(module.shape[1], module.shape[2])
    found = [one for test in tests for one in test.found(FALSE_ALARM / divisor)]
    return sorted(found, key=lambda one: (one.bound, -abs(one.module - one.graph)))


def number_of_comparisons(rows: int, elements: int) -> int:
    """The number of hypotheses that `compare` tests on [N, rows, elements]."""
    paired = min(elements, _MOST_PAIRED)
    of_rows = elements + rows * (rows - 1) // 2 if rows > 1 else 0
    return 2 * rows * elements + of_rows + paired * (paired - 1) // 2 + elements


def power(samples: int, comparisons: int) -> Power:
    """The differences that `compare` finds with 99 % probability in samples of normal outputs.

    Let t^2 = 2 ln(2 comparisons / FALSE_ALARM). A difference whose d has mean e and variance v is
    found if sqrt(n) e / sqrt(v + e^2) >= t + 2.33.
    """
    size = group_size(samples)
    groups = samples // size
    return Power(
        _least_effect(samples, comparisons, 2.0),
        _least_ratio(groups, comparisons, size) - 1,
        _least_effect(groups, comparisons, 2 / (size - 1)),
    )


def _least_ratio(groups: int, comparisons: int, size: int) -> float:
    """The least ratio of standard deviations; a group's s^2 has variance 2 sigma^4 / (size - 1)."""
    ratio = 1.0
    for _ in range(20):  # a fixed point: the larger sigma, the larger that variance
        effect = _least_effect(groups, comparisons, 2 / (size - 1) * (1 + min(ratio, 1e9) ** 4))
        ratio = math.sqrt(1 + effect)
    return ratio


def samples_for(wanted: Power, comparisons: int) -> int:
    """The least number of samples, in steps of 1,024, with at least this power."""
    samples = 1024
    while not _at_least(power(samples, comparisons), wanted):
        samples += 1024
    return samples


def _at_least(power: Power, wanted: Power) -> bool:
    return (
        power.mean <= wanted.mean
        and power.standard_deviation <= wanted.standard_deviation
        and power.correlation <= wanted.correlation
    )


def _least_effect(count: int, comparisons: int, variance: float) -> float:
    needed = (math.sqrt(2 * math.log(2 * comparisons / FALSE_ALARM)) + _NORMAL_99) ** 2
    return math.sqrt(variance * needed / (count - needed)) if count > needed else math.inf


class _Pair:
    """Both sets, centred and scaled by common moments, which keeps them exchangeable."""

    def __init__(self, module: Float64, graph: Float64) -> None:
        count = len(module) - len(module) % group_size(len(module))
        self.x, self.y = module[:count], graph[:count]
        self.largest = np.maximum(np.abs(module).max((0, 1)), np.abs(graph).max((0, 1)))
        self.centre = (self.x.mean(0) + self.y.mean(0)) / 2
        spread = [((a - self.centre) ** 2).mean(0) for a in (self.x, self.y)]
        self.standard_deviation = np.sqrt((spread[0] + spread[1]) / 2)  # [B, E]
        self.varies = self.standard_deviation > 1e-5 * self.largest
        safe = np.where(self.varies, self.standard_deviation, 1.0)
        self.u, self.v = (
            np.where(self.varies, (a - self.centre) / safe, 0.0) for a in (self.x, self.y)
        )

    def groups(self, values: Float64) -> Float64:
        """The values in groups: [G, m, B, E]."""
        size = group_size(len(self.x))
        return values.reshape(-1, size, *values.shape[1:])

    def centred(self, values: Float64) -> Float64:
        """The values in groups [G, m, B, E], minus the mean of each group."""
        grouped = self.groups(values)
        result: Float64 = grouped - grouped.mean(1, keepdims=True)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class _Test:
    """The differences [n, ...] of one quantity; the other arrays have their trailing shape.

    `row` and `element` hold the numbers for each place, -1 for all. A place counts if its mean
    difference is larger than `negligible`.
    """

    quantity: Quantity
    differences: Float64
    module: Float64
    graph: Float64
    row: NDArray[np.int64]
    element: NDArray[np.int64]
    negligible: Float64

    def found(self, level: float) -> Iterator[Difference]:
        total = np.abs(self.differences.sum(0))
        size = np.sqrt((self.differences**2).sum(0))
        t = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
        bound = 2 * np.exp(-(t**2) / 2)
        counts = total > len(self.differences) * self.negligible
        for place in zip(*np.nonzero((bound < level) & counts), strict=True):
            row, element = int(self.row[place]), int(self.element[place])
            yield Difference(
                self.quantity,
                None if row < 0 else row,
                None if element < 0 else element,
                float(self.module[place]),
                float(self.graph[place]),
                float(bound[place]),
            )


def _tests(pair: _Pair) -> Iterator[_Test]:
    rows, elements = pair.standard_deviation.shape
    row, element = np.indices((rows, elements))
    yield _Test(
        Quantity.MEAN,
        pair.x - pair.y,
        pair.x.mean(0),
        pair.y.mean(0),
        row,
        element,
        _NEGLIGIBLE * pair.standard_deviation + _ROUNDING * pair.largest,
    )
    variances = [pair.groups(a).var(1, ddof=1) for a in (pair.x, pair.y)]
    yield _Test(
        Quantity.STANDARD_DEVIATION,
        variances[0] - variances[1],
        np.sqrt(variances[0].mean(0)),
        np.sqrt(variances[1].mean(0)),
        row,
        element,
        2 * _NEGLIGIBLE * pair.standard_deviation**2 + (1e-5 * pair.largest) ** 2,
    )
    if rows > 1:
        yield from _between_rows(pair)
    yield _between_outputs(pair)
    yield _between_calls(pair)


def _between_rows(pair: _Pair) -> Iterator[_Test]:
    """The mean correlation of all pairs of rows by element, and of each pair over elements."""
    rows, elements = pair.standard_deviation.shape
    every = np.arange(elements)
    by_element = [_mean_of_pairs(pair.centred(a)) for a in (pair.u, pair.v)]
    yield _correlation(Quantity.ROWS, by_element, np.full(elements, -1), every)
    first, second = np.triu_indices(rows, 1)
    by_pair = [
        (c[:, :, first] * c[:, :, second]).sum(1).mean(-1) / (c.shape[1] - 1)
        for c in (pair.centred(pair.u), pair.centred(pair.v))
    ]
    yield _correlation(Quantity.ROWS, by_pair, first, np.full(len(first), -1))


def _mean_of_pairs(c: Float64) -> Float64:
    """Sum ((sum_b c)^2 - sum_b c^2) / (B (B - 1)) over each group: [G, m, B, E] to [G, E]."""
    rows = c.shape[2]
    cross = c.sum(2) ** 2 - (c**2).sum(2)
    result: Float64 = cross.sum(1) / ((c.shape[1] - 1) * rows * (rows - 1))
    return result


def _between_outputs(pair: _Pair) -> _Test:
    count = min(pair.standard_deviation.shape[1], _MOST_PAIRED)
    chosen = np.linspace(0, pair.standard_deviation.shape[1] - 1, count).round().astype(np.int64)
    first, second = np.triu_indices(count, 1)
    a, b = chosen[first], chosen[second]
    found = [
        (c[..., a] * c[..., b]).sum(1).mean(1) / (c.shape[1] - 1)
        for c in (pair.centred(pair.u), pair.centred(pair.v))
    ]
    return _correlation(Quantity.OUTPUTS, found, np.full(len(a), -1), a)


def _between_calls(pair: _Pair) -> _Test:
    """The correlation of neighbours in a group, as a mean over rows."""
    grouped = (pair.groups(a) for a in (pair.u, pair.v))
    found = [(g[:, 1:] * g[:, :-1]).mean((1, 2)) for g in grouped]
    elements = pair.standard_deviation.shape[1]
    return _correlation(Quantity.CALLS, found, np.full(elements, -1), np.arange(elements))


def _correlation(
    quantity: Quantity, found: list[Float64], row: NDArray[np.int64], element: NDArray[np.int64]
) -> _Test:
    module, graph = found
    negligible = np.full(module.shape[1:], _NEGLIGIBLE)
    means = module.mean(0), graph.mean(0)
    return _Test(quantity, module - graph, *means, row, element, negligible)
