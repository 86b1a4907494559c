"""Rows beyond the calibration data."""

from __future__ import annotations

import numpy as np

from qbnnc.passes.ranges.rows import evenly_spaced, stretched


def test_stretched_rows_are_farther_from_the_mean() -> None:
    rows = np.array([[0, 10], [2, 14], [4, 12]], np.float32)
    assert stretched(rows, 1.5, 9).tolist() == [[-1, 9], [2, 15], [5, 12]]


def test_bounds_of_the_data_stay_bounds() -> None:
    """Pixels of 0..1: many are 0 and one of 400 is 1, which is no bound."""
    rows = np.full((100, 4), 0.5, np.float32)
    rows[::2, 0], rows[7, 3] = 0, 1
    far = stretched(rows, 2, 1000)
    assert far.min() == 0
    assert far.max() > 1.4


def test_rows_are_taken_evenly_and_all_of_them_where_they_are_few() -> None:
    rows = np.arange(9, dtype=np.float32)[:, None]
    assert evenly_spaced(rows, 3).tolist() == [[0], [4], [8]]
    assert evenly_spaced(rows, 9) is rows
    assert len(stretched(rows, 2, 5)) == 5
