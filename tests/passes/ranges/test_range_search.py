"""The search for ranges, against fake quantisation with every range of a grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.ops import FakeQuantize
from qbnnc.ir.scales import activation_quant, weight_quant
from qbnnc.ir.types import Array, QuantParams
from qbnnc.passes.ranges.range_search import Codes, least_error_range

ONCE = np.ones((1, 1))
WIDTHS = st.integers(2, 8)


def heavy_tailed(rows: int = 3, count: int = 400, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_t(3, (rows, count)).astype(np.float32)


def measured(values: Array, quant: QuantParams) -> float:
    """The squared error of one row by the oracle's own FakeQuantize."""
    codes = FakeQuantize(quant).codes(values[None, None])[0, 0]
    scale, zero = quant.per_tensor
    return float((((codes - zero) * scale - values.astype(np.float64)) ** 2).sum())


def quant_of(low: float, high: float, codes: Codes) -> QuantParams:
    if not codes.symmetric:
        return activation_quant(low, high, codes.bits, pow2=codes.pow2)
    ends = np.array([[low, high]])
    return weight_quant(ends, codes.bits, np.zeros(1), channels=False, pow2=codes.pow2)


@given(
    st.integers(0, 99),
    st.builds(Codes, WIDTHS, st.booleans(), st.booleans()),
    st.floats(0.1, 1),
    st.floats(0, 1),
)
def test_the_error_is_that_of_fake_quantisation(
    seed: int, codes: Codes, up: float, down: float
) -> None:
    values = heavy_tailed(1, 50, seed)
    low, high = down * float(values.min()), up * float(values.max())
    found = codes.squared_error(values, ONCE, np.array([low]), np.array([high]))
    assert found[0] == pytest.approx(measured(values[0], quant_of(low, high, codes)), rel=1e-4)


@given(st.integers(0, 99), st.builds(Codes, WIDTHS, st.booleans(), st.booleans()))
def test_it_is_never_worse_than_the_minimum_and_maximum(seed: int, codes: Codes) -> None:
    values = heavy_tailed(2, 60, seed)
    low, high = least_error_range(values, ONCE, codes)
    wide = np.minimum(values.min(axis=1), 0.0), np.maximum(values.max(axis=1), 0.0)
    wide = wide[0].astype(np.float64), wide[1].astype(np.float64)
    ours, theirs = (codes.squared_error(values, ONCE, *r) for r in ((low, high), wide))
    assert (ours <= theirs).all()
    assert (wide[0] <= low).all()
    assert (low <= 0).all()
    assert (high >= 0).all()
    assert (high <= wide[1]).all()


@pytest.mark.parametrize("exponent", [-100, 7, 100, 120])
@pytest.mark.parametrize("codes", [Codes(3), Codes(4, True), Codes(4, pow2=True)])
def test_it_does_not_depend_on_the_unit(exponent: int, codes: Codes) -> None:
    """2^100 is 1e30, whose square is no float32."""
    values = heavy_tailed(2, 60)
    near = np.stack(least_error_range(values, ONCE, codes))
    far = np.stack(least_error_range(np.ldexp(values, exponent), ONCE, codes))
    assert (far == np.ldexp(near, exponent)).all()
    assert np.isfinite(far).all()


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("symmetric", [False, True])
def test_no_range_of_a_fine_grid_is_much_better(bits: int, symmetric: bool) -> None:
    values, codes = heavy_tailed(1, 300), Codes(bits, symmetric)
    ours = codes.squared_error(values, ONCE, *least_error_range(values, ONCE, codes))[0]
    ends = np.linspace(0.02, 1, 60)
    grid = [
        measured(values[0], quant_of(a * float(values.min()), b * float(values.max()), codes))
        for a in (ends[-1:] * 0 if symmetric else ends)
        for b in (np.linspace(0.02, 2, 500) if symmetric else ends)
    ]
    assert ours <= 1.05 * min(grid)
    assert ours < 0.9 * measured(
        values[0], quant_of(float(values.min()), float(values.max()), codes)
    )


def test_rows_are_searched_apart_and_zeros_have_no_range() -> None:
    values = np.concatenate([heavy_tailed(2), np.zeros((1, 400), np.float32)])
    low, high = least_error_range(values, ONCE, Codes(3, True))
    alone = least_error_range(values[1:2], ONCE, Codes(3, True))
    assert (low[1], high[1]) == (alone[0][0], alone[1][0])
    assert (low[2], high[2]) == (0, 0)


def test_counts_weigh_the_values() -> None:
    values = np.array([[1.0, 1.1, 8.0]])
    rare, frequent = (np.array([[50.0, 50.0, n]]) for n in (0.1, 50.0))
    assert least_error_range(values, rare, Codes(2))[1] < 4
    assert least_error_range(values, frequent, Codes(2))[1] > 6
