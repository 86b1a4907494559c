"""Histograms of values to be quantised, and the ranges that clip them best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qbnnc.ir.graph import Value
from qbnnc.ir.types import Array
from qbnnc.passes.range_search import Codes, least_error_range

_BINS = 2048


class Histograms:
    """Counts of each value in bins, which divide the range of its group and 0.

    Zeros are left out: every range has a code for them.
    """

    def __init__(
        self,
        searched: Mapping[Value, tuple[Value, Codes]],
        ranges: Mapping[str, tuple[float, float]],
    ) -> None:
        self.searched = searched
        self.span: dict[Value, tuple[float, float]] = {}
        for value, (group, _) in searched.items():
            low, high = ranges[value.name]
            known = self.span.get(group, (0.0, 0.0))
            self.span[group] = min(known[0], low), max(known[1], high)
        self.counts = {group: np.zeros(_BINS) for group in self.span}

    def observe(self, value: Value, array: Array) -> None:
        if value in self.searched:
            group, _ = self.searched[value]
            low, high = self.span[group]
            values = array[array != 0].astype(np.float64)
            places = ((values - low) * (_BINS / (high - low) if high > low else 0)).astype(np.int64)
            self.counts[group] += np.bincount(np.minimum(places, _BINS - 1), minlength=_BINS)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The range of each group, for each of its values."""
        return {v.name: self._range(group, codes) for v, (group, codes) in self.searched.items()}

    def _range(self, group: Value, codes: Codes) -> tuple[float, float]:
        low, high = self.span[group]
        centres = low + (np.arange(_BINS) + 0.5) * (high - low) / _BINS
        values = np.concatenate([[low, high], centres])[None]
        counts = np.concatenate([[0.0, 0.0], self.counts[group]])[None]
        a, b = least_error_range(values, counts, codes)
        return float(a[0]), float(b[0])
