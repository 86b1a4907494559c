"""Calibration rows: fewer of them, or others beyond them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.support.several_inputs import Entries

_BOUND = 0.01  # the part of all numbers at an extreme from which it is a bound of the data


def evenly_spaced(rows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """`most` of the rows [N, *shape] at most, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def stretched_inputs(
    rows: NDArray[np.float32],
    entries: Entries,
    ids: NDArray[np.int64] | None,
    factor: float,
    most: int,
) -> NDArray[np.float32]:
    """`stretched`, for each input by itself: the bounds of one are none of another's."""
    if len(entries) == 1:
        return stretched(rows, factor, most, ids)
    known = np.zeros(rows.shape[1], np.int64) if ids is None else ids
    if (known > 0).all():
        return rows[:0]
    far = evenly_spaced(rows, most).copy()
    for entry in entries:
        part = slice(entry.start, entry.stop)
        moved = stretched(rows[:, part], factor, most, known[part])
        if len(moved):
            far[:, part] = moved
    return far


def stretched(
    rows: NDArray[np.float32], factor: float, most: int, ids: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Rows `factor` times as far from the mean of all rows: `most` at most, evenly spaced.

    They stand for inputs unlike the calibration data. An extreme that 1 % of all numbers have is a
    bound of the data, like the black of an image, and stays one. Numbers that have a vocabulary in
    `ids` [*shape] stay as they are, and rows of nothing else are left out.
    """
    if ids is not None and (ids > 0).all():
        return rows[:0]
    mean = rows.mean(axis=0, dtype=np.float64)
    low, high = rows.min(), rows.max()
    far = mean + factor * (evenly_spaced(rows, most) - mean)
    least = max(2, _BOUND * rows.size)
    if (rows == low).sum() >= least:
        far = np.maximum(far, low)
    if (rows == high).sum() >= least:
        far = np.minimum(far, high)
    if ids is not None:
        far = np.where(ids > 0, evenly_spaced(rows, most), far)
    result: NDArray[np.float32] = far.astype(np.float32)
    return result
