"""Products of real matrices: about exact, and the same bits in any order of the sums."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.products import float32_product, product

Float64 = NDArray[np.float64]
sizes = st.integers(1, 40)


def exact(a: Float64, b: Float64) -> list[list[Fraction]]:
    rows = [[Fraction(float(v)) for v in row] for row in a]
    columns = [[Fraction(float(v)) for v in column] for column in b.T]
    return [
        [sum((x * y for x, y in zip(row, c, strict=True)), Fraction(0)) for c in columns]
        for row in rows
    ]


def matrices(seed: int, rows: int, depth: int, columns: int) -> tuple[Float64, Float64]:
    """Normal numbers whose magnitudes differ between rows, and between columns."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, depth)) * 10.0 ** rng.integers(-30, 30, (rows, 1))
    b = rng.normal(size=(depth, columns)) * 10.0 ** rng.integers(-30, 30, columns)
    return a, b


@given(st.integers(0, 2**32), sizes, st.integers(1, 300), sizes, st.integers(1, 3))
def test_error(seed: int, rows: int, depth: int, columns: int, slices: int) -> None:
    """Each operand loses half a unit of its last bit, (53 - log2 K) / 2 bits a slice."""
    a, b = matrices(seed, min(rows, 3), min(depth, 60), min(columns, 3))
    depth = a.shape[1]
    bits = (53 - depth.bit_length()) // 2 * slices
    most = np.abs(a).max(axis=1)[:, None] * np.abs(b).max(axis=0)
    allowed = most * depth * 2.0 ** (3 - bits) + most * 2.0**-48
    found = product(a, b, slices)
    for got, want, bound in zip(found, exact(a, b), allowed, strict=True):
        for one, number, most_wrong in zip(got, want, bound, strict=True):
            assert abs(Fraction(float(one)) - number) <= Fraction(float(most_wrong))


@given(st.integers(0, 2**32), sizes, st.integers(2, 2000), sizes, st.integers(1, 3))
def test_the_order_of_the_sum_changes_no_bit(
    seed: int, rows: int, depth: int, columns: int, slices: int
) -> None:
    a, b = matrices(seed, rows, depth, columns)
    order = np.random.default_rng(seed).permutation(depth)
    np.testing.assert_array_equal(
        product(a, b, slices).view(np.int64), product(a[:, order], b[order], slices).view(np.int64)
    )


@given(st.integers(0, 2**32), sizes, st.integers(1, 300), sizes)
def test_neither_other_rows_nor_other_columns_change_a_bit(
    seed: int, rows: int, depth: int, columns: int
) -> None:
    a, b = matrices(seed, rows, depth, columns)
    whole = product(a, b, 2)
    np.testing.assert_array_equal(whole[-1:], product(a[-1:], b, 2))
    np.testing.assert_array_equal(whole[:, -1:], product(a, b[:, -1:], 2))


def test_small_integers_are_exact() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-127, 128, (7, 900)), rng.integers(-127, 128, (900, 5))
    np.testing.assert_array_equal(product(a, b), a @ b)


def test_no_zero_is_negative() -> None:
    found = product(np.array([[-1.0, 0.0]]), np.array([[0.0], [2.0]]))
    assert not np.signbit(found).any()


@pytest.mark.parametrize("number", [1e-320, 1e-300, 1e300])
def test_the_smallest_and_largest_numbers(number: float) -> None:
    found = product(np.full((1, 3), number), np.full((3, 1), 1.0))
    np.testing.assert_allclose(found, 3 * number if number > 1e-280 else 0.0, atol=1e-270)


def test_of_float32_that_overflow() -> None:
    with np.errstate(over="ignore"):
        found = float32_product(np.full((1, 2), 3e38, np.float32), np.ones((2, 1), np.float32))
    assert found.dtype == np.float32
    assert np.isposinf(found).all()


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_infinities_and_nan_are_those_of_numpy(number: float) -> None:
    a, b = np.array([[1.0, number], [1.0, 2.0]]), np.array([[1.0], [2.0]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(product(a, b), a @ b)


def test_an_empty_sum_is_zero() -> None:
    np.testing.assert_array_equal(product(np.zeros((2, 0)), np.zeros((0, 3))), np.zeros((2, 3)))
