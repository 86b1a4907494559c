"""Histograms of codes and of real numbers, and their drawings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.inspection.page.markup import escaped
from qbnnc.ir.types import Array

_BARS = 64
_WIDTH, _HEIGHT, _FOOT = 256, 84, 18  # in the units of the drawing; the foot holds its numbers


@dataclass(frozen=True, slots=True, eq=False)
class Histogram:
    """Counts of equal bins from `low` to `high`.

    Of codes, both ends are codes, and a bin holds `step` of them. `at_low` and `at_high` are the
    shares of numbers at the two ends.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    step: float
    at_low: float
    at_high: float
    whole: bool
    used: int

    @property
    def size(self) -> int:
        return int(self.counts.sum())

    def words(self) -> str:
        """The content in a sentence, for who cannot see the drawing."""
        if not self.whole:
            return f"{self.size} numbers from {number(self.low)} to {number(self.high)}"
        codes = int(self.high - self.low) + 1
        return (
            f"{self.size} codes, {self.used} of {codes} in use; {percent(self.at_low)} at "
            f"{number(self.low)}, {percent(self.at_high)} at {number(self.high)}"
        )


def of_codes(codes: Array, low: int, high: int) -> Histogram:
    """The histogram of integer codes, which lie in low..high."""
    each = np.bincount(codes.reshape(-1).astype(np.int64) - low, minlength=high - low + 1)
    step = -(-len(each) // _BARS)
    padded = np.zeros(-(-len(each) // step) * step, np.int64)
    padded[: len(each)] = each
    total = max(1, int(each.sum()))
    at_low, at_high = float(each[0] / total), float(each[-1] / total)
    counts, used = padded.reshape(-1, step).sum(axis=1), int((each > 0).sum())
    return Histogram(low, high, counts, step, at_low, at_high, whole=True, used=used)


def of_reals(numbers: Array) -> Histogram:
    """The histogram of finite real numbers between the least and the greatest."""
    wide = numbers.reshape(-1).astype(np.float64)
    wide = wide[np.isfinite(wide)]
    low, high = (float(wide.min()), float(wide.max())) if wide.size else (0.0, 0.0)
    span = high - low
    places = (wide - low) * (_BARS / span) if span > 0 else np.zeros(len(wide))
    counts = np.bincount(np.minimum(places, _BARS - 1).astype(np.int64), minlength=_BARS)
    at_low, at_high = (float((wide == end).mean()) if wide.size else 0.0 for end in (low, high))
    return Histogram(low, high, counts, span / _BARS, at_low, at_high, whole=False, used=0)


def drawing(histogram: Histogram, title: str, id: str) -> str:
    """An SVG with one bar a bin; a bar's height is as the square root of its count.

    A linear height would show nothing but the zeros after a ReLU or a dropout.
    """
    most = max(1, int(histogram.counts.max(initial=1)))
    bars = [round(_HEIGHT * float(np.sqrt(n / most))) for n in histogram.counts]
    width = round(_WIDTH / len(bars), 2)
    outline = "".join(f"V{_HEIGHT - bar}h{width:g}" for bar in bars)
    low, high = number(histogram.low), number(histogram.high)
    foot = _HEIGHT + _FOOT - 4
    named = escaped(title)
    return (
        f'<figure class="bars"><svg viewBox="0 0 {_WIDTH} {_HEIGHT + _FOOT}" role="img" '
        f'aria-labelledby="{id}t {id}d"><title id="{id}t">{named}</title>'
        f'<desc id="{id}d">{escaped(histogram.words())}</desc>'
        f'<path class="bar" d="M0 {_HEIGHT}{outline}V{_HEIGHT}z"/>'
        f'<path class="axis" d="M0 {_HEIGHT}H{_WIDTH}"/>{_zero(histogram)}'
        f'<text x="0" y="{foot}">{low}</text>'
        f'<text x="{_WIDTH}" y="{foot}" text-anchor="end">{high}</text></svg>'
        f"<figcaption><strong>{named}.</strong> {escaped(histogram.words())}</figcaption></figure>"
    )


def number(value: float, digits: int = 4) -> str:
    """ "−31.73": with the sign for minus.

    >>> number(-31.7312), number(127)
    ('−31.73', '127')
    """
    return f"{value:.{digits}g}".replace("-", "−")


def percent(share: float) -> str:
    """ "0 %", "< 0.01 %", "12.3 %"."""
    if share == 0:
        return "0 %"
    return "< 0.01 %" if share < 1e-4 else f"{100 * share:.3g} %"


def _zero(histogram: Histogram) -> str:
    """A tick at 0 where it is inside; its bin's middle for codes."""
    if not histogram.low < 0 < histogram.high:
        return ""
    bins = (0 - histogram.low) / histogram.step if histogram.step else 0.0
    place = int(bins) + 0.5 if histogram.whole else bins
    x = round(_WIDTH * place / len(histogram.counts), 1)
    return (
        f'<path class="axis" d="M{x:g} {_HEIGHT}v4"/>'
        f'<text x="{x:g}" y="{_HEIGHT + _FOOT - 4}" text-anchor="middle">0</text>'
    )
