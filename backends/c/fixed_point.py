"""A float32 rounding as one integer multiply-add and a shift, proved equal where it can occur.

`quantize` (docs/semantics.md, section 2) is a monotone step function of an integer t, and so is
(t*M + B) >> S. Two monotone step functions with codes low..high are equal on t_min..t_max if and
only if they step at the same t, so that high - low comparisons prove it. For a shift S and a
multiplier M the right B are an interval, found exactly in Python's integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """(t*multiplier + addend) >> shift; int32, int64, and 32..62."""

    multiplier: int
    addend: int
    shift: int


def steps(
    exact: Callable[[Int64], Int64], low: int, high: int, t_min: Int64, t_max: Int64
) -> Int64:
    """Find the least t in t_min..t_max with exact(t) >= k, for k = low+1..high.

    `exact` maps int64 [channels, n] to codes, and t_min and t_max are [channels]. The result is
    [channels, high - low]: t_max + 1 where a step is not reached, t_min where it lies below.
    """
    codes = np.arange(low + 1, high + 1)
    below = np.repeat(t_min[:, None] - 1, len(codes), 1)
    reached = np.repeat(t_max[:, None] + 1, len(codes), 1)
    while (reached - below > 1).any():
        middle = (below + reached) // 2
        inside = np.clip(middle, t_min[:, None], t_max[:, None])
        enough = (exact(inside) >= codes) & (middle >= t_min[:, None])
        below, reached = np.where(enough, below, middle), np.where(enough, middle, reached)
    return reached


def fit(
    slope: float, codes: Sequence[int], at: Sequence[int], t_min: int, t_max: int
) -> FixedPoint | None:
    """Return the form that steps to codes[i] at at[i], and nowhere else inside; None if none does.

    `slope` is about codes per t; at as `steps` finds it.
    """
    most = max(abs(t_min), abs(t_max), 1)
    for shift in range(62, 31, -1):
        nearest = round(slope * 2.0**shift)
        if nearest >= 2**31 - 2 or most * nearest >= 2**62:
            continue
        if nearest < 2:
            return None
        for multiplier in (nearest, nearest - 1, nearest + 1, nearest - 2, nearest + 2):
            addend = _addend(multiplier, shift, codes, at, t_min, t_max)
            if addend is not None:
                return FixedPoint(multiplier, addend, shift)
    return None


def _addend(
    m: int, shift: int, codes: Sequence[int], at: Sequence[int], t_min: int, t_max: int
) -> int | None:
    least, most = -(2**62), 2**62
    for code, t in zip(codes, at, strict=True):
        target = code << shift
        if t > t_max:  # f(t_max) < code
            most = min(most, target - t_max * m - 1)
        else:  # f(t) >= code; and f(t - 1) < code, unless t - 1 is outside
            least = max(least, target - t * m)
            if t > t_min:
                most = min(most, target - (t - 1) * m - 1)
    return (least + most) // 2 if least <= most else None
