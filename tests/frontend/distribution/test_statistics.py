"""The two-sample test: its false alarms, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.frontend.distribution import statistics
from qbnnc.frontend.distribution.statistics import (
    Power,
    Quantity,
    compare,
    number_of_comparisons,
    power,
    samples_for,
)

Float64 = NDArray[np.float64]
Distribution = Callable[[np.random.Generator, tuple[int, ...]], Float64]

DISTRIBUTIONS: dict[str, Distribution] = {
    "normal": lambda g, s: g.standard_normal(s),
    "rare": lambda g, s: (g.random(s) < 0.03).astype(float),
    "heavy tails": lambda g, s: g.standard_t(2, s),
    "skewed": lambda g, s: np.exp(2 * g.standard_normal(s)),
    "constant": lambda g, s: np.ones(s),
    "rows share a draw": lambda g, s: np.broadcast_to(g.random((s[0], 1, s[2])), s) + 0.0,
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("samples", [64, 256])
def test_false_alarms_are_at_most_as_many_as_promised(
    name: str, samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "FALSE_ALARM", 0.1)
    g, shape = np.random.default_rng(1), (samples, 3, 4)
    alarms = sum(
        bool(compare(DISTRIBUTIONS[name](g, shape), DISTRIBUTIONS[name](g, shape)))
        for _ in range(200)
    )
    assert alarms <= 200 * 0.1


def changed(y: Float64, quantity: Quantity, effect: float) -> Float64:
    """Normal samples [N, B, E] with one difference of this size."""
    y = y.copy()
    rest = np.sqrt(1 - min(effect, 1) ** 2)
    match quantity:
        case Quantity.MEAN:
            y[:, 1, 2] += effect
        case Quantity.STANDARD_DEVIATION:
            y[:, 1, 2] *= 1 + effect
        case Quantity.ROWS:
            y[:, 1] = effect * y[:, 0] + rest * y[:, 1]
        case Quantity.OUTPUTS:
            y[:, :, 1] = effect * y[:, :, 0] + rest * y[:, :, 1]
        case Quantity.CALLS:
            y[1:] = effect * y[:-1] + rest * y[1:]
    return y


@pytest.mark.few(1)
@pytest.mark.parametrize("quantity", Quantity)
def test_what_is_designed_for_is_found(quantity: Quantity) -> None:
    g, shape = np.random.default_rng(2), (1024, 4, 6)
    least = power(1024, number_of_comparisons(4, 6))
    effect = {Quantity.MEAN: least.mean, Quantity.STANDARD_DEVIATION: least.standard_deviation}.get(
        quantity, least.correlation
    )
    found = [
        compare(g.standard_normal(shape), changed(g.standard_normal(shape), quantity, effect))
        for _ in range(40)
    ]
    assert sum(any(d.quantity is quantity for d in one) for one in found) >= 38
    same = (compare(g.standard_normal(shape), g.standard_normal(shape)) for _ in range(20))
    assert not any(same)


def test_rounding_is_no_difference() -> None:
    g = np.random.default_rng(3)
    x = g.standard_normal((512, 2, 2))
    assert not compare(x, x * (1 + 1e-6) + 1e-7)
    assert not compare(np.full((512, 2, 2), 3.0), np.full((512, 2, 2), 3.00001))


def test_a_constant_that_is_another() -> None:
    found = compare(np.full((512, 2, 2), 3.0), np.full((512, 2, 2), 3.1))
    assert found[0].quantity is Quantity.MEAN
    assert (found[0].module, found[0].graph) == pytest.approx((3.0, 3.1))


def test_noise_against_none() -> None:
    g = np.random.default_rng(4)
    noisy = g.standard_normal((256, 2, 2))
    assert any(
        d.quantity is Quantity.STANDARD_DEVIATION for d in compare(noisy, np.zeros_like(noisy))
    )


@pytest.mark.parametrize(("rows", "elements"), [(1, 1), (1, 5), (3, 1), (4, 6), (2, 20)])
def test_comparisons_are_counted(rows: int, elements: int) -> None:
    """By hand: 2 moments of each element, rows over pairs and elements, outputs, calls."""
    pairs = len(list(combinations(range(rows), 2)))
    few = min(elements, 12)
    by_hand = 2 * rows * elements + (elements + pairs if rows > 1 else 0)
    by_hand += len(list(combinations(range(few), 2))) + elements
    assert number_of_comparisons(rows, elements) == by_hand


def test_power_grows_with_samples() -> None:
    wanted = Power(0.1, 0.05, 0.1)
    count = samples_for(wanted, 300)
    reached, less = power(count, 300), power(count - 1024, 300)
    assert reached.mean <= 0.1
    assert reached.standard_deviation <= 0.05
    assert reached.correlation <= 0.1
    assert less.standard_deviation > 0.05 or less.mean > 0.1 or less.correlation > 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_must_be_finite(bad: float) -> None:
    x = np.zeros((64, 1, 1))
    y = x.copy()
    y[3] = bad
    with pytest.raises(ValueError, match="finite"):
        compare(x, y)
