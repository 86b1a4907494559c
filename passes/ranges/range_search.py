"""Search of ranges that minimise the squared error of quantising: clipping against rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array

Float64 = NDArray[np.float64]

_SHRINK = np.linspace(1.0, 0.12, 45)  # factors of both ends together
_STRETCH = np.linspace(0.6, 1.4, 17)  # then factors of one end, around the best so far
_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes that a range is divided into: 2^bits, or 2^bits - 1 around 0 if `symmetric`."""

    bits: int
    symmetric: bool = False
    pow2: bool = False

    def squared_error(self, values: Array, counts: Array, low: Float64, high: Float64) -> Float64:
        """The error sum_i counts_i*(values_i - dequant(quant(values_i)))^2 of each row: [N].

        `values` and `counts` are [N, M] or [1, M]; `low` <= 0 <= `high` are [N]. Scales follow
        docs/semantics.md, section 1, but for their rounding to float32.
        """
        steps = 2**self.bits - (2 if self.symmetric else 1)
        span = 2 * np.maximum(-low, high) if self.symmetric else high - low
        scale = np.where(span > 0, span / steps, 1.0)
        if self.pow2:
            mantissa, exponent = np.frexp(scale)
            scale = np.ldexp(1.0, exponent - (mantissa == 0.5))
        zero = steps / 2 if self.symmetric else np.clip(np.rint(-low / scale), 0, steps)
        least = np.asarray(-zero, np.float32).reshape(-1, 1)
        most = np.asarray(steps - zero, np.float32).reshape(-1, 1)
        step = scale.astype(np.float32)[:, None]
        codes = values / step
        np.clip(codes, least, most, out=codes)
        np.rint(codes, out=codes)
        codes *= step
        codes -= values
        np.square(codes, out=codes)
        codes *= counts
        error: Float64 = codes.sum(axis=1, dtype=np.float64)
        return error


def least_error_range(values: Array, counts: Array, codes: Codes) -> tuple[Float64, Float64]:
    """The best range of each row among those tried: (low, high), f64 [N] each.

    `values` [N, M] are quantised row by row and count `counts` times, [N, M] or [1, M]. The range
    from the least value to the greatest, widened to contain 0, is tried first, so that no result is
    worse. Then both ends shrink together. Then, with affine codes, they move one at a time, twice.

    The search takes a power of two as its unit, row by row. This changes no bit of the result and
    keeps squares from overflowing.
    """
    counts = counts.astype(np.float32)
    exponent = np.frexp(np.abs(values).max(axis=1))[1]
    values = np.ldexp(values, -exponent[:, None]).astype(np.float32)
    low = np.minimum(values.min(axis=1), 0).astype(np.float64)
    high = np.maximum(values.max(axis=1), 0).astype(np.float64)
    best = _Best(values, counts, codes, low, high)
    for factor in _SHRINK:
        best.try_range(factor * low, factor * high)
    for _ in range(0 if codes.symmetric else _ROUNDS):
        a, b = best.low, best.high
        for factor in _STRETCH:
            best.try_range(a, np.minimum(factor * b, high))
        a, b = best.low, best.high
        for factor in _STRETCH:
            best.try_range(np.maximum(factor * a, low), b)
    return np.ldexp(best.low, exponent), np.ldexp(best.high, exponent)


class _Best:
    """The best range of each row so far."""

    def __init__(
        self, values: Array, counts: Array, codes: Codes, low: Float64, high: Float64
    ) -> None:
        self.values, self.counts, self.codes = values, counts, codes
        self.low, self.high = low, high
        self.error = codes.squared_error(values, counts, low, high)

    def try_range(self, low: Float64, high: Float64) -> None:
        error = self.codes.squared_error(self.values, self.counts, low, high)
        better = error < self.error
        self.error = np.where(better, error, self.error)
        self.low = np.where(better, low, self.low)
        self.high = np.where(better, high, self.high)
