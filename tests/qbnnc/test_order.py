"""The order of rows by their uncertainty: whether few bits keep it."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.evaluation.order import Order, order_of
from qbnnc.ir.head import Task
from qbnnc.ir.types import Array


def spread_out(deviations: Array, count: int = 200) -> tuple[Array, ...]:
    """Samples [count, B, 1] whose standard deviations are in the order of `deviations` [B]."""
    noise = np.random.default_rng(0).standard_normal((count, len(deviations), 1))
    return ((noise * deviations[:, None]).astype(np.float32),)


ROWS = np.linspace(1, 5, 64)


def test_the_same_order_is_kept() -> None:
    samples = spread_out(ROWS)
    found = order_of(samples, (2 * samples[0],), Task.RAW, random=True)
    assert found is not None
    assert found.correlation == pytest.approx(1)
    assert not found.is_below(0.95)


def test_a_shuffled_order_is_lost() -> None:
    other = np.random.default_rng(1).permutation(ROWS)
    for random in (False, True):
        found = order_of(spread_out(ROWS), spread_out(other), Task.RAW, random=random)
        assert found is not None
        assert found.is_below(0.95)


def test_an_order_that_no_seed_repeats_cannot_be_lost() -> None:
    """Rows of one spread have an order by chance alone."""
    alike = np.ones(64)
    left = spread_out(alike, 16)
    right = (np.random.default_rng(2).standard_normal(left[0].shape).astype(np.float32),)
    found = order_of(left, right, Task.RAW, random=True)
    assert found is None or not found.is_below(0.95)


@pytest.mark.parametrize(("rows", "correlation", "below"), [
    (64, 0.91, True),  # tanh(atanh(.91) + 2 sqrt(1.06/61)) = .947
    (64, 0.92, False),  # .953
    (16, 0.84, True),  # .946
    (16, 0.86, False),  # .953
    (3, 0.0, False),
    (64, 1.0, False),
    (64, -1.0, True),
])  # fmt: skip
def test_below_by_two_standard_errors(rows: int, correlation: float, below: bool) -> None:
    assert Order(correlation, rows).is_below(0.95) is below


def test_rows_of_one_spread_have_no_order() -> None:
    flat = (np.zeros((4, 8, 1), np.float32),)
    assert order_of(flat, flat, Task.RAW, random=False) is None
