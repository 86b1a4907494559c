"""Moments of rounded samples against all 65,536 samples, and the distributions that give them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.ir.rng import eps_table
from qbnnc.ir.types import EPS_QUANT
from qbnnc.passes.fitting.sample_moments import best_distribution, sample_moments

Float64 = NDArray[np.float64]


def every_sample(
    mean: Float64, deviation: Float64, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance over all lanes, by rounding and clipping each."""
    eps = eps_table().astype(np.float64)[:, None] * EPS_QUANT.scale[0]
    codes = np.clip(np.rint(mean + deviation * eps), 0, steps)
    return codes.mean(axis=0), codes.var(axis=0)


@pytest.mark.parametrize("steps", [2, 3, 6, 7, 14])
def test_moments_of_few_codes_are_exact(steps: int) -> None:
    rng = np.random.default_rng(steps)
    mean = rng.uniform(-2, steps + 2, 60)
    deviation = np.where(rng.random(60) < 0.1, 0, 10 ** rng.uniform(-3, 1, 60))
    expected = every_sample(mean, deviation, steps)
    for found, true in zip(sample_moments(mean, deviation, steps), expected, strict=True):
        np.testing.assert_allclose(found, true, atol=1e-9)


@pytest.mark.parametrize("steps", [15, 30, 62, 254])
def test_moments_of_many_codes_are_nearly_exact(steps: int) -> None:
    """Exact for a deviation of 1 at most, at the bounds too; within 2 % where nothing clips."""
    rng = np.random.default_rng(steps)
    mean = np.concatenate([rng.uniform(-1, 2, 20), rng.uniform(steps - 2, steps + 1, 20)])
    mean = np.concatenate([mean, rng.uniform(0, steps, 20)])
    narrow = rng.uniform(0, 1, 60)
    found, expected = (f(mean, narrow, steps) for f in (sample_moments, every_sample))
    np.testing.assert_allclose(found[0], expected[0], atol=2e-3)
    np.testing.assert_allclose(found[1], expected[1], atol=2e-3)
    inner, wide = rng.uniform(6, steps - 6, 20), rng.uniform(1.01, 1.9, 20)
    found, expected = (f(inner, wide, steps) for f in (sample_moments, every_sample))
    np.testing.assert_allclose(found[0], expected[0], atol=0.02)
    np.testing.assert_allclose(found[1], expected[1], rtol=0.02)


@pytest.mark.parametrize("steps", [2, 6, 14, 254])
def test_the_best_distribution_has_the_wanted_moments_where_there_is_one(steps: int) -> None:
    """Rounding alone makes the deviation too large; one that is wide enough can be matched."""
    rng = np.random.default_rng(0)
    mean, deviation = rng.uniform(0.8, steps - 0.8, 200), rng.uniform(0.5, 0.7, 200)
    given, variance = every_sample(*best_distribution(mean, deviation, steps, 1.0), steps)
    plain = every_sample(mean, deviation, steps)
    assert np.abs(given - mean).max() < 0.06
    assert np.abs(np.sqrt(variance) - deviation).max() < 0.06
    assert (
        np.abs(np.sqrt(plain[1]) - deviation).mean()
        > 2 * np.abs(np.sqrt(variance) - deviation).mean()
    )


@pytest.mark.parametrize("price", [0.2, 1.0])
def test_no_other_distribution_is_much_better(price: float) -> None:
    rng = np.random.default_rng(1)
    mean, deviation, steps = rng.uniform(-0.5, 2.5, 30), rng.uniform(0, 1.2, 30), 2

    def costs(tried: tuple[Float64, Float64]) -> Float64:
        given, variance = every_sample(*tried, steps)
        off = (given - np.clip(mean, 0, steps)) ** 2
        cost: Float64 = off + price * (np.sqrt(variance) - deviation) ** 2
        return cost

    found = costs(best_distribution(mean, deviation, steps, price))
    for _ in range(100):
        tried = mean + rng.uniform(-1, 1, 30), rng.uniform(0, 2, 30)
        assert (found <= costs(tried) + 0.02).all()
