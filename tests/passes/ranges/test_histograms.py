"""Histograms that grow, and the ranges found in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.graph import Value
from qbnnc.ir.types import DType, TensorType
from qbnnc.passes.ranges.histograms import Histogram, Histograms
from qbnnc.passes.ranges.range_search import Codes

NUMBERS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30)


def of(*arrays: list[float]) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(np.array(array, np.float32))
    return histogram


@given(st.permutations([0, 1, 2]), NUMBERS, NUMBERS, NUMBERS)
def test_the_order_of_the_values_does_not_matter(
    order: list[int], a: list[float], b: list[float], c: list[float]
) -> None:
    parts = [a, b, c]
    mixed, joined = of(*(parts[i] for i in order)), of(a + b + c)
    assert (mixed.low, mixed.high) == (joined.low, joined.high)
    assert (mixed.counts == joined.counts).all()


@given(NUMBERS)
def test_every_number_is_counted_near_its_place(numbers: list[float]) -> None:
    histogram = of(numbers)
    real = np.sort(np.array([n for n in numbers if n != 0], np.float64))
    centres = histogram.centres(-np.inf, np.inf)
    held = np.repeat(centres, histogram.counts.astype(int))
    assert len(held) == len(real)
    assert np.abs(held - real).max(initial=0) <= np.abs(real).max(initial=0) / 1024


def test_zeros_and_what_is_not_finite_are_left_out() -> None:
    histogram = of([0.0, np.inf, -np.inf, np.nan, 3.0, -2.0])
    assert histogram.counts.sum() == 2
    assert (histogram.low, histogram.high) == (-2, 3)


def ranges(seen: list[float], far: list[float], bits: int = 8) -> tuple[float, float]:
    value = Value("x", TensorType(DType.F32, (2,)))
    both = Histograms({value: (value, Codes(bits))}, 1.5)
    both.observe(value, np.array(seen, np.float32))
    both.turn_to_stretched()
    both.observe(value, np.array(far, np.float32))
    return both.ranges()["x"]


def test_stretched_values_reach_no_further_than_their_factor() -> None:
    assert ranges([1.0, 2.0], []) == pytest.approx((0, 2), rel=0.01)
    assert ranges([1.0, 2.0], [2.5]) == pytest.approx((0, 2.5), rel=0.01)
    assert ranges([1.0, 2.0], [1e9]) == pytest.approx((0, 3), rel=0.01)
    assert ranges([1.0, 2.0], [-1e9]) == pytest.approx((0, 2), rel=0.01)


def test_all_stretched_values_together_weigh_as_much_as_the_others() -> None:
    """Two bits: three steps up to 1.5 cost the many values near 1 more than clipping a few."""
    many, few = ranges([1.0] * 90, [1.5] * 90, 2), ranges([1.0] * 90, [1.5] * 9, 2)
    assert many == few


def test_values_that_are_all_zero_have_no_range() -> None:
    assert ranges([0.0, 0.0], []) == (0, 0)
    assert ranges([0.0, 0.0], [5.0]) == (0, 0)
