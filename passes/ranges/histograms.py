"""Histograms of values whose range is not known beforehand, and the ranges found in them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Value
from qbnnc.ir.types import Array
from qbnnc.passes.ranges.range_search import Codes, least_error_range

Float64 = NDArray[np.float64]

_HALF = 2048  # bins on each side of 0
_SMALLEST = -200  # the exponent of a histogram that holds no number yet


class Histogram:
    """Counts in 2 * 2048 equal bins that divide -2^e .. 2^e, for the least e that holds all values.

    Zeros are left out, as every range has a code for them. So are infinite numbers and NaN.
    Neighbours are merged when e grows, so that the order of the values does not matter.
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.exponent = _SMALLEST
        self.counts = np.zeros(2 * _HALF)

    def add(self, array: Array) -> None:
        """Count all values of an array."""
        values = array[(array != 0) & np.isfinite(array)].astype(np.float64)
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._reach(int(np.frexp(max(-low, high))[1]))
        places = np.floor(values * 2.0 ** (11 - self.exponent)).astype(np.int64) + _HALF
        np.minimum(places, 2 * _HALF - 1, out=places)
        self.counts += np.bincount(places, minlength=2 * _HALF)

    def _reach(self, exponent: int) -> None:
        """Merge pairs of bins until 2^exponent is inside."""
        if self.counts.any():
            for _ in range(min(exponent - self.exponent, 12)):
                merged = self.counts.reshape(-1, 2).sum(axis=1)
                self.counts = np.pad(merged, _HALF // 2)
        self.exponent = max(self.exponent, exponent)

    def centres(self, low: float, high: float) -> Float64:
        """The centre of each bin, clipped to low..high: f64 [4096]."""
        width = 2.0 ** (self.exponent - 11)
        return np.clip((np.arange(2 * _HALF) - _HALF + 0.5) * width, low, high)


class Histograms:
    """Values of the calibration rows and of stretched rows, one histogram of each a group.

    Stretched rows count as much as the calibration rows do, with the values that are at most
    `stretch` times as far from 0 as the calibration rows' extremes; the others count as if they
    were there.
    """

    def __init__(self, searched: Mapping[Value, tuple[Value, Codes]], stretch: float) -> None:
        self.searched, self.stretch = searched, stretch
        groups = dict.fromkeys(group for group, _ in searched.values())
        self.seen = {group: Histogram() for group in groups}
        self.far = {group: Histogram() for group in groups}
        self._now = self.seen

    def turn_to_stretched(self) -> None:
        """Take what follows for values of stretched rows."""
        self._now = self.far

    def observe(self, value: Value, array: Array) -> None:
        if value in self.searched:
            self._now[self.searched[value][0]].add(array)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The range of each group, for each of its values."""
        found = {group: self._range(group, codes) for group, codes in self.searched.values()}
        return {value.name: found[group] for value, (group, _) in self.searched.items()}

    def _range(self, group: Value, codes: Codes) -> tuple[float, float]:
        seen, far = self.seen[group], self.far[group]
        low, high = self.stretch * seen.low, self.stretch * seen.high
        most = far.counts.sum()
        weight = seen.counts.sum() / most if most else 0.0
        values = np.concatenate([seen.centres(seen.low, seen.high), far.centres(low, high)])
        counts = np.concatenate([seen.counts, weight * far.counts])
        held = counts > 0
        if not held.any():
            return 0.0, 0.0
        a, b = least_error_range(values[held][None], counts[held][None], codes)
        return float(a[0]), float(b[0])
