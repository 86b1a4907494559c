"""Sums over the weights of each output channel, exact, without a copy of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

_CHUNK = 1 << 20  # elements summed together: a sum of so many int8 codes fits int32


@dataclass(frozen=True, slots=True, eq=False)
class ChannelSums:
    """sum max(w', 0) and sum min(w', 0) over the weights of each channel, w' = q_w - Z_w: [N]."""

    positive: Int64
    negative: Int64

    @property
    def total(self) -> Int64:
        """sum w'."""
        return self.positive + self.negative

    @property
    def size(self) -> Int64:
        """sum |w'|."""
        return self.positive - self.negative

    def offline_terms(self, input_zero: int) -> Int32:
        """K Z_w Z_x - Z_x sum q_w = -Z_x sum w': [N], mod 2^32.

        These terms of equation (2) depend on constants alone. A layer that is folded has them in
        its bias.
        """
        terms: Int32 = (-input_zero * self.total).astype(np.int32)
        return terms


def channel_sums(weight: Array, zero: Array) -> ChannelSums:
    """The sums of codes i8 [N, ...] under zero points [N] or [1]."""
    total, size = np.zeros(len(weight), np.int64), np.zeros(len(weight), np.int64)
    flat, zeros = weight.reshape(len(weight), -1), np.broadcast_to(zero.reshape(-1), len(weight))
    symmetric = not zeros.any()
    for rows, columns in chunks(*flat.shape):
        part = flat[rows, columns]
        if not symmetric:
            part = part.astype(np.int16) - zeros[rows, None].astype(np.int16)
        total[rows] += part.sum(axis=1, dtype=np.int32)
        unsigned = np.dtype(f"u{part.dtype.itemsize}")
        size[rows] += np.abs(part).view(unsigned).sum(axis=1, dtype=np.int32)
    return ChannelSums((total + size) // 2, (total - size) // 2)


def chunks(rows: int, columns: int, size: int = 1) -> Iterator[tuple[slice, slice]]:
    """Cut a matrix, `size` numbers at each place, into pieces of at most a million numbers."""
    width = max(1, min(columns, _CHUNK // size))
    height = max(1, _CHUNK // (width * size))
    for row in range(0, rows, height):
        for column in range(0, columns, width):
            yield slice(row, row + height), slice(column, column + width)
