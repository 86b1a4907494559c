"""In which order a plan is run: the batch in chunks of rows, each in blocks that stay in the cache.

    for each chunk of rows:
        for each block of its rows: the prefix
        for each block of samples:
            the sample range, with one row
            for each block of the chunk's rows: the suffix

What is computed does not depend on any of these sizes. The loops are worked out here, as a table
that the interpreter goes through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.lowering import Range
from qbnnc.runtime.plan import Plan

Schedule = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """One run of a range: `samples` draws from `first_sample` on, of `rows` rows from `first_row`.

    `start` is the chunk's first row in the batch, and `first_row` counts from there.
    """

    range: Range
    start: int
    first_row: int
    rows: int
    first_sample: int = 0
    samples: int = 1


def schedule(plan: Plan, rows: range, draws: range, chunk: int) -> Schedule:
    """The blocks as int64 [blocks, 6], in the order of Block's fields."""
    table = [astuple(block) for block in blocks(plan, rows, draws, chunk)]
    return np.array(table, np.int64).reshape(-1, 6)


def blocks(plan: Plan, batch: range, draws: range, chunk: int) -> Iterator[Block]:
    """In which order which range is run over which rows and samples."""
    capacity = plan.arena.capacity
    prefix, sample, suffix = np.diff(plan.ends, prepend=0) > 0
    for start in batch[::chunk]:
        count = min(chunk, batch.stop - start)
        if prefix:
            for row in range(0, count, capacity.rows):
                yield Block(Range.PREFIX, start, row, min(capacity.rows, count - row))
        if not sample and not suffix:
            continue
        rows = min(count, capacity.copies)
        samples = min(capacity.samples, max(1, capacity.copies // count))
        for first in draws[::samples]:
            some = min(samples, draws.stop - first)
            if sample:
                yield Block(Range.SAMPLE, start, 0, 1, first, some)
            if suffix:
                for row in range(0, count, rows):
                    yield Block(Range.SUFFIX, start, row, min(rows, count - row), first, some)
