"""Metrics of order: by hand, by their definitions as loops, and by torchmetrics."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional import spearman_corrcoef
from torchmetrics.functional.classification import binary_auroc

from qbnnc.runtime.ranking import (
    area_under_risk_coverage,
    auroc,
    interval_coverage,
    rank_correlation,
)
from qbnnc.support.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)
numbers = st.integers(-3, 3).map(float)


def lists(least: int = 1, most: int = 6) -> st.SearchStrategy[list[float]]:
    return st.lists(numbers, min_size=least, max_size=most)


@given(lists(), lists())
def test_auroc_counts_pairs(inside: list[float], outside: list[float]) -> None:
    wins = [(b > a) + (b == a) / 2 for a in inside for b in outside]
    assert auroc(inside, outside) == pytest.approx(sum(wins) / len(wins))


@given(SEEDS)
def test_auroc_is_that_of_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 9, 60) / 9, rng.integers(0, 2, 60)
    labels[:2] = 0, 1
    expected = binary_auroc(torch.from_numpy(scores), torch.from_numpy(labels))
    assert auroc(scores[labels == 0], scores[labels == 1]) == pytest.approx(float(expected))


def test_risk_and_coverage_by_hand() -> None:
    """The least uncertain row is right: risks are 0, 1/2, 2/3."""
    found = area_under_risk_coverage([1, 0, 1], [0.5, 0.1, 0.9])
    assert found == pytest.approx((0 + 1 / 2 + 2 / 3) / 3)


@given(st.lists(st.tuples(numbers, st.integers(0, 2).map(float)), min_size=1, max_size=5))
def test_equal_rows_count_as_in_the_mean_of_their_orders(rows: list[tuple[float, float]]) -> None:
    found = area_under_risk_coverage([loss for loss, _ in rows], [u for _, u in rows])
    areas = []
    for order in permutations(rows):
        uncertain = [u for _, u in order]
        if uncertain == sorted(uncertain):
            losses = [loss for loss, _ in order]
            areas.append(np.mean([np.mean(losses[: n + 1]) for n in range(len(losses))]))
    assert found == pytest.approx(np.mean(areas), abs=1e-12)


@given(SEEDS)
def test_rank_correlation_is_that_of_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 9, (2, 40)) / 9
    expected = spearman_corrcoef(torch.from_numpy(a), torch.from_numpy(b))
    assert rank_correlation(a, b) == pytest.approx(float(expected), abs=1e-6)


def test_rank_correlation_sees_nothing_but_the_order() -> None:
    a = np.arange(1.0, 9.0)
    assert rank_correlation(a, np.exp(a)) == 1
    assert rank_correlation(a, -(a**3)) == -1
    assert np.isnan(rank_correlation(a, np.ones(8)))


def test_coverage_by_hand() -> None:
    """The interval of N(0, 4) reaches to 2 x 1.6449 = 3.2897."""
    assert interval_coverage([0.0, 0.0], [4.0, 4.0], [3.28, -3.30]) == 0.5
    assert interval_coverage([1.0], [0.0], [1.0]) == 1


def test_nine_of_ten_normal_targets_are_covered() -> None:
    rng = np.random.default_rng(0)
    y = 3 + 2 * rng.normal(size=100_000)
    found = interval_coverage(np.full(100_000, 3.0), np.full(100_000, 4.0), y)
    assert found == pytest.approx(0.9, abs=0.004)


@pytest.mark.parametrize(
    ("metric", "arguments"),
    [
        (auroc, ([], [1.0])),
        (auroc, ([1.0], [np.nan])),
        (rank_correlation, ([1.0], [1.0, 2.0])),
        (interval_coverage, ([1.0], [-1.0], [1.0])),
        (area_under_risk_coverage, ([1.0, 2.0], [1.0])),
    ],
)
def test_what_does_not_fit(
    metric: Callable[..., float], arguments: tuple[list[float], ...]
) -> None:
    with pytest.raises(InputError):
        metric(*arguments)
