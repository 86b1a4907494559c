"""Least squares and GPTQ, against definitions and exhaustive search."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.types import Array, QuantParams
from qbnnc.passes.fitting.rounding import (
    Inverse,
    Moments,
    MomentSum,
    NotFitted,
    fitted_weight,
    sequential_rounding,
)

Float64 = NDArray[np.float64]
COARSE = QuantParams((0.5,), (0,), -2, 2)
FINE = QuantParams((2.0**-16,), (0,), -(2**24), 2**24)


def correlated(count: int, inputs: int, seed: int = 0) -> Float64:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, inputs)) @ rng.normal(size=(inputs, inputs)) + 3.0


def moments_of(x: Float64, y: Float64) -> Moments:
    sums = MomentSum(x.shape[1], y.shape[1])
    for rows in np.array_split(np.arange(len(x)), 3):
        sums.add(x[rows], y[rows])
    return sums.moments()


def cost(weight: Float64, rounded: Float64, hessian: Float64) -> float:
    error = weight - rounded
    return float(np.einsum("nk,kl,nl->", error, hessian, error))


def fitted_codes(weight: Array, quant: QuantParams, moments: Moments) -> Array:
    return fitted_weight(weight, [quant], moments)[0]


def nearest(weight: Float64, quant: QuantParams) -> Float64:
    scale = quant.scale[0]
    return np.clip(np.rint(weight / scale), quant.low, quant.high) * scale


def test_moments_are_the_covariances() -> None:
    x, y = correlated(200, 4), correlated(200, 3, 1)
    moments = moments_of(x, y)
    joint = np.cov(np.concatenate([x, y], axis=1), rowvar=False, bias=True) * 200
    np.testing.assert_allclose(moments.hessian, joint[:4, :4], rtol=1e-3, atol=0.02)
    np.testing.assert_allclose(moments.cross, joint[:4, 4:], rtol=1e-3, atol=0.02)


@given(st.integers(0, 99))
def test_inputs_that_are_independent_are_rounded_to_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(3, 5))
    hessian = np.diag(rng.uniform(0.5, 2, 5))
    found = sequential_rounding(weight, COARSE, Inverse.of(hessian))
    np.testing.assert_array_equal(found, nearest(weight, COARSE))


@given(st.integers(0, 99))
def test_rounding_is_between_the_best_codes_and_a_little_above_the_nearest(seed: int) -> None:
    """Greedy: never better than all 5^4 choices; on average far below nearest (next test)."""
    x = correlated(30, 4, seed)
    hessian = x.T @ x + 0.1 * np.eye(4)
    weight = np.random.default_rng(seed).normal(size=(1, 4)) * 0.5
    found = sequential_rounding(weight, COARSE, Inverse.of(hessian))
    codes = np.array(list(product(range(-2, 3), repeat=4))) * 0.5
    best = min(cost(weight, row[None], hessian) for row in codes)
    assert np.isin(found / 0.5, range(-2, 3)).all()
    assert cost(weight, found, hessian) >= best - 1e-9


@pytest.mark.parametrize(
    ("first", "second", "codes"), [(1.0, 4.0, [1, 0]), (4.0, 1.0, [0, 1]), (4.0, 4.0, [0, 0])]
)
def test_the_column_of_the_largest_input_is_rounded_first(
    first: float, second: float, codes: list[int]
) -> None:
    """Both columns are 0.4. The first to be rounded goes to 0, and the error of 0.4 moves the
    other by 0.4 H_01/H_kk. With H_kk = 1 that is 0.76, and with H_kk = 4 it is 0.49.
    """
    hessian = np.array([[first, 0.9], [0.9, second]])
    found = sequential_rounding(
        np.array([[0.4, 0.4]]), QuantParams((1.0,), (0,), -7, 7), Inverse.of(hessian)
    )
    assert found.tolist() == [codes]


def test_gptq_beats_the_nearest_codes_over_several_blocks() -> None:
    x = correlated(600, 150)
    hessian = x.T @ x + np.eye(150)
    weight = np.random.default_rng(1).uniform(-1, 1, (20, 150))
    found = sequential_rounding(weight, COARSE, Inverse.of(hessian))
    assert cost(weight, found, hessian) < 0.7 * cost(weight, nearest(weight, COARSE), hessian)


def test_channels_have_scales_and_zero_points_of_their_own() -> None:
    quant = QuantParams((0.5, 0.1), (1, -3), -4, 3, 0)
    weight = np.array([[0.9, -2.0, 5.0], [0.31, -0.2, 0.7]])
    found = sequential_rounding(weight, quant, Inverse.of(np.eye(3)))
    np.testing.assert_allclose(found, [[1.0, -2.0, 1.0], [0.3, -0.1, 0.6]])


def test_a_weight_that_gives_what_is_wanted_stays() -> None:
    x = correlated(100, 5)
    weight = np.random.default_rng(2).normal(size=(3, 5)).astype(np.float32)
    found = fitted_codes(weight, FINE, moments_of(x, x @ weight.T + 7.0))
    np.testing.assert_allclose(found, weight, atol=1e-3)


def test_least_squares_makes_up_for_what_inputs_lost() -> None:
    """The quantised input says half of what the float one did: the weight doubles."""
    x = np.random.default_rng(3).normal(size=(500, 4))
    weight = np.ones((2, 4), np.float32)
    found = fitted_codes(weight, FINE, moments_of(x / 2, x @ weight.T))
    np.testing.assert_allclose(found, 2 * weight, rtol=0.02)


def test_without_usable_observations_the_weight_stays() -> None:
    weight = np.array([[0.3, 0.4]], np.float32)
    constant, x = np.ones((9, 2)), correlated(9, 2)
    assert (fitted_codes(weight, COARSE, moments_of(constant, x[:, :1])) == weight).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_observations_that_are_infinite(value: float, where: str) -> None:
    """Also those whose squares are."""
    x, y = correlated(9, 2), correlated(9, 1)
    (x if where == "inputs" else y)[3] = value
    weight = np.array([[0.3, 0.4]], np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        moments = moments_of(x, y)
    with pytest.raises(NotFitted, match="infinite"):
        fitted_codes(weight, COARSE, moments)


def test_moments_that_rounding_made_indefinite_are_damped() -> None:
    """Asymmetric, and with a negative eigenvalue beyond the first damping: still fitted."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    hessian = axes @ np.diag([600.0, 1, 1, 1, 1, -9.0]) @ axes.T
    hessian += rng.normal(size=(6, 6)) * 1e-6
    weight = rng.normal(size=(3, 6)).astype(np.float32)
    found = fitted_codes(weight, COARSE, Moments(hessian, hessian @ weight.T))
    assert np.isfinite(found).all()
    assert np.isin(found / 0.5, range(-2, 3)).all()


def test_moments_that_no_damping_helps() -> None:
    hessian = np.diag([10.0, -9.0])
    with pytest.raises(NotFitted, match="not positive definite"):
        fitted_codes(np.ones((1, 2), np.float32), COARSE, Moments(hessian, np.ones((2, 1))))


@given(st.integers(0, 400))
def test_any_observations_are_fitted(seed: int) -> None:
    """Few rows, dead and equal channels, huge ranges: codes on the grid, and no LinAlgError."""
    rng = np.random.default_rng(seed)
    rows, inputs = int(rng.integers(1, 40)), int(rng.integers(1, 60))
    x = rng.normal(size=(rows, inputs)) * 10.0 ** rng.uniform(-12, 8, inputs)
    x[:, rng.random(inputs) < 0.3] = rng.normal()
    x[:, rng.integers(inputs)] = x[:, rng.integers(inputs)]
    weight = rng.normal(size=(4, inputs)).astype(np.float32)
    with np.errstate(over="ignore"):
        found = fitted_codes(weight, COARSE, moments_of(x, x @ weight.T))
    assert np.isfinite(found).all()
    assert (found == weight).all() or np.isin(found / 0.5, range(-2, 3)).all()


@pytest.mark.parametrize("seed", [15, 39, 41, 89, 93])
def test_sums_from_a_first_row_that_is_far_away(seed: int) -> None:
    """The float32 sums lose so much that H, damped by 1 %, is not positive definite."""
    rng = np.random.default_rng(seed)
    rows, inputs = int(rng.integers(2, 400)), int(rng.integers(2, 60))
    x = rng.normal(size=(rows, inputs)) * 1e-2 * rng.random(inputs) ** 4
    x[0] += 10.0 ** rng.uniform(0, 6) * (rng.normal(size=inputs) if seed % 2 else 1)
    weight = rng.normal(size=(4, inputs)).astype(np.float32)
    sums = MomentSum(inputs, 4)
    sums.add(x, x @ weight.T)
    found = fitted_codes(weight, COARSE, sums.moments())
    assert np.isin(found / 0.5, range(-2, 3)).all()


@pytest.mark.parametrize(("low", "high", "codes"), [(0, 3, 2), (-8, 7, 3)])
def test_codes_of_3_bits_or_less_have_ten_times_the_damping(
    low: int, high: int, codes: int
) -> None:
    """W = 1 and y = 2*x give W' = 1 + 1/(1 + d): 1.909 with d = .1, and 1.990 with .01.

    In steps of .78 these are 2.45 and 2.55.
    """
    moments = Moments(np.array([[5.0]]), np.array([[10.0]]))
    weight = np.ones((1, 1), np.float32)
    found = fitted_codes(weight, QuantParams((0.78,), (0,), low, high), moments)
    assert found == pytest.approx(codes * 0.78, rel=1e-6)


def test_each_channel_has_the_scale_with_the_least_error() -> None:
    """The weights 1 and 3 have codes 1 and 3 of the scale 1, and 1.5 and 3 of 1.5 have 1 and 2."""
    rows = np.array([[1.0, 3.0], [1.5, 3.0]], np.float32)
    hessian = np.diag([4.0, 2.0])
    grid = QuantParams((1.0, 1.0), (0, 0), -4, 3, axis=0)
    moments = Moments(hessian, hessian @ rows.T.astype(np.float64))
    found, quant = fitted_weight(rows, [grid, grid.scaled(1.5)], moments)
    assert quant.scale == (1.0, 1.5)
    np.testing.assert_array_equal(found, rows)


def test_one_scale_for_a_tensor_has_the_least_error_of_all_channels() -> None:
    """The scale 1 is exact for 1 and 3, but .5 off twice for 1.5 and 4.5; 1.5 is .5 off once."""
    rows = np.array([[1.0, 3.0], [1.5, 4.5]], np.float32)
    hessian = np.eye(2)
    grid = QuantParams((1.0,), (0,), -8, 7)
    moments = Moments(hessian, hessian @ rows.T.astype(np.float64))
    found, quant = fitted_weight(rows, [grid, grid.scaled(1.5)], moments)
    assert quant.scale == (1.5,)
    np.testing.assert_array_equal(found, [[1.5, 3.0], [1.5, 4.5]])
