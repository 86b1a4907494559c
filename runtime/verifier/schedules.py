"""Proof that blocks stay within the capacity of an arena, and within their prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.kernels.records import BLOCK


def verify_schedule(
    table: NDArray[np.int64], capacity: tuple[int, int, int], rows: range, draws: range, chunk: int
) -> bool:
    """Tell whether each block stays inside its limits.

    `capacity` is (rows, samples, copies). Blocks stay inside `rows` of the batch, the samples
    `draws`, and a chunk of `chunk` rows.

    `table` int64 [blocks, fields of a Block], as `schedule.schedule` makes it.
    """
    if not len(table):
        return True
    phase, start, first_row = (table[:, i] for i in (BLOCK.phase, BLOCK.start, BLOCK.first_row))
    some_rows, first_sample, samples = (
        table[:, i] for i in (BLOCK.rows, BLOCK.first_sample, BLOCK.samples)
    )
    most_rows = np.array([capacity[0], 1, capacity[2]])
    most_samples = np.array([1, capacity[1], capacity[1]])
    known = (phase >= 0) & (phase <= 2)
    which = np.where(known, phase, 0)
    fits = (
        known
        & (some_rows >= 1)
        & (samples >= 1)
        & (some_rows <= most_rows[which])
        & (samples <= most_samples[which])
        & ((phase != 2) | (some_rows * samples <= capacity[2]))
    )
    inside = (
        (first_row >= 0)
        & (first_row + some_rows <= chunk)
        & (start >= rows.start)
        & (start + first_row + some_rows <= rows.stop)
        & ((phase == 0) | (first_sample >= draws.start))
        & ((phase == 0) | (first_sample + samples <= draws.stop))
    )
    return bool((fits & inside).all())
