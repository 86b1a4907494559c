"""The range of values that an axis shows: collapsed ones must not flatten the others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_FAR: Final = 3.0  # a value is left out if it is this many times farther off than the range is wide
_FLAT: Final = 0.1  # values within 10 % of each other count as one
_DRAWABLE: Final = 1e100
_TINY: Final = 1e-100


@dataclass(frozen=True, slots=True)
class Window:
    """The values from `low` to `high` are on the axis."""

    low: float
    high: float

    @property
    def height(self) -> float:
        return (self.high - self.low) or abs(self.high) or 1.0

    def padded(self, share: float) -> tuple[float, float]:
        """The ends of an axis with `share` of its length to spare at either, never one point."""
        large, length = max(abs(self.low), abs(self.high)), self.high - self.low
        # ticks on an axis that is shorter than 1/1000 of its values would need too many digits
        margin = share * length if length > 1e-3 * large else 0.01 * large
        margin = max(margin, _TINY)
        return self.low - margin, self.high + margin

    def distance(self, value: float) -> float:
        """The distance of a value outside; not above 0 inside."""
        return max(self.low - value, value - self.high)

    def side(self, value: float) -> int:
        """0 on the axis, 1 above or undefined, -1 below."""
        if self.low <= value <= self.high:
            return 0
        return -1 if value < self.low else 1

    def drawn(self, value: float) -> float:
        """The value, or a place well outside the axis in its direction; NaN stays."""
        return min(max(value, self.low - 3 * self.height), self.high + 3 * self.height)


def window(values: Iterable[float], always: Iterable[float] = ()) -> Window:
    """The range of `values` without those that are far from all others and from `always`.

    The range grows from `always` (the float networks, the most bits) value by value, the nearest
    first. It leaves out what is more than three times as far off as the range is wide.
    """
    finite = sorted(v for v in values if _drawable(v))
    kept = [v for v in always if _drawable(v)] or finite[:1]
    if not kept:
        return Window(0.0, 1.0)
    low, high = min(kept), max(kept)
    start = Window(low, high)
    for value in sorted(finite, key=start.distance):
        room = max(high - low, _FLAT * max(abs(low), abs(high)))
        if room == 0 or Window(low, high).distance(value) <= _FAR * room:
            low, high = min(low, value), max(high, value)
    return Window(low, high)


def _drawable(value: float) -> bool:
    return math.isfinite(value) and abs(value) < _DRAWABLE
