"""Mean and variance of a sampled weight's codes, and the normal distribution that gives them.

A sample's code is clip(rint(mean + deviation*eps)). At few bits rounding adds up to half a code of
noise, and the bounds take some away. All numbers here are in codes, and the lowest code is 0.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.rng import eps_table
from qbnnc.ir.types import EPS_QUANT

Float64 = NDArray[np.float64]

_LANES = 65536
_EPS_STEP = EPS_QUANT.scale[0]
# The bounds are so many steps apart at most: more codes than those of 4 bits are alike inside.
_MOST_STEPS = 14
_WIDE = 1.0  # from this deviation on, many codes make rounding an independent error

_WANTED_PER_CODE, _TRIED_PER_CODE = 16, 32
_WANTED_DEVIATIONS = np.concatenate([[0.0], np.geomspace(0.02, 4, 47)])
_TRIED_DEVIATIONS = np.concatenate([[0.0], np.geomspace(0.02, 6, 63)])
_NEARNESS = 1e-3  # price of moving away: of distributions that do as well, the nearest is taken


def sample_moments(mean: Float64, deviation: Float64, steps: int) -> tuple[Float64, Float64]:
    """Return mean and variance of clip(rint(mean + deviation*eps), 0, steps), element by element.

    eps has the 65,536 values of docs/semantics.md, section 5. The result is exact up to 4 bits. For
    more, a deviation above 1 gives `mean` and deviation^2 var(eps) + 1/12, and the bounds are left
    out: a scale of so many bits covers every sample.
    """
    moved = _near_bounds(mean, steps)
    if moved is mean:
        return _exact_moments(mean, deviation, steps)
    inner, variance = _exact_moments(moved, np.minimum(deviation, _WIDE), _MOST_STEPS)
    wide = deviation > _WIDE
    return (
        np.where(wide, mean, inner + (mean - moved)),
        np.where(wide, deviation**2 * _eps_variance() + 1 / 12, variance),
    )


def best_distribution(
    mean: Float64, deviation: Float64, steps: int, price: float
) -> tuple[Float64, Float64]:
    """Return a (mean', deviation') whose codes have nearly this mean and deviation.

    The result minimises (E - mean)^2 + price*(sqrt(V) - deviation)^2 among a grid of distributions,
    for the nearest of a grid of wishes.
    """
    few = min(steps, _MOST_STEPS)
    shifts, deviations = _table(few, price)
    row = np.rint((_near_bounds(mean, steps) + 1) * _WANTED_PER_CODE)
    i = np.clip(row, 0, len(shifts) - 1).astype(np.int64)
    j = np.searchsorted((_WANTED_DEVIATIONS[1:] + _WANTED_DEVIATIONS[:-1]) / 2, deviation)
    stretch = deviation[j > 0] / _WANTED_DEVIATIONS[j[j > 0]]
    found = deviations[i, j]
    found[j > 0] *= stretch
    return mean + shifts[i, j], np.where(deviation > _WANTED_DEVIATIONS[-1], deviation, found)


def _near_bounds(mean: Float64, steps: int) -> Float64:
    """The place among the codes of 4 bits that looks alike; the mean itself if these are all."""
    if steps <= _MOST_STEPS:
        return mean
    half = _MOST_STEPS // 2
    from_top = mean - (steps - _MOST_STEPS)
    inside = np.where(mean > steps - half, from_top, half + mean % 1)
    return np.where(mean < half, mean, inside)


def _exact_moments(mean: Float64, deviation: Float64, steps: int) -> tuple[Float64, Float64]:
    """Sum over the steps k that a sample passes, mean + deviation*eps >= k - 1/2.

    The code is the number of steps passed, and its square the sum of 2k - 1 over them.
    """
    certain = deviation == 0
    step = np.where(certain, 1.0, deviation * _EPS_STEP)
    first, second = np.zeros(mean.shape), np.zeros(mean.shape)
    for k in range(1, steps + 1):
        least = np.clip(np.ceil((k - 0.5 - mean) / step), -127, 128).astype(np.int64)
        lanes = _lanes_from()[least + 127]
        first += lanes
        second += (2 * k - 1) * lanes
    first /= _LANES
    variance = second / _LANES - first**2
    code = np.clip(np.rint(mean), 0, steps)
    return np.where(certain, code, first), np.where(certain, 0.0, variance)


@cache
def _lanes_from() -> Float64:
    """The number of lanes whose eps code is c - 127 or more, for c from 0 to 255."""
    counts = np.bincount(eps_table().astype(np.int64) + 127, minlength=256)
    return np.cumsum(counts[::-1])[::-1].astype(np.float64)


@cache
def _eps_variance() -> float:
    codes = eps_table().astype(np.int64)
    return int((codes**2).sum()) / _LANES * _EPS_STEP**2


@cache
def _table(steps: int, price: float) -> tuple[Float64, Float64]:
    """mean' - mean and deviation' of the best distribution, [wanted means, wanted deviations].

    Wanted means go from -1 to `steps` + 1, and mean' from mean - 1 to mean + 1.
    """
    wanted = np.arange(-_WANTED_PER_CODE, (steps + 1) * _WANTED_PER_CODE + 1) / _WANTED_PER_CODE
    around = np.arange(-_TRIED_PER_CODE, _TRIED_PER_CODE + 1) / _TRIED_PER_CODE
    shifts, deviations = (np.empty((len(wanted), len(_WANTED_DEVIATIONS))) for _ in range(2))
    for i, mean in enumerate(wanted):
        shift, deviation = (a.ravel() for a in np.meshgrid(around, _TRIED_DEVIATIONS))
        given, variance = _exact_moments(mean + shift, deviation, steps)
        off = (given - np.clip(mean, 0, steps)) ** 2 + _NEARNESS * shift**2
        given_deviation = np.sqrt(variance)
        for j, goal in enumerate(_WANTED_DEVIATIONS):
            moved = _NEARNESS * (deviation - goal) ** 2
            best = (off + price * (given_deviation - goal) ** 2 + moved).argmin()
            shifts[i, j], deviations[i, j] = shift[best], deviation[best]
    return shifts, deviations
