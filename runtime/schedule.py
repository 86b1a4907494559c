"""The order in which a plan runs: chunks of rows, each in blocks that stay in the cache.

    for each chunk of rows:
        for each block of its rows: the prefix
        for each block of samples:
            the sample phase, with one row
            for each block of the chunk's rows: the suffix

No result depends on any of these sizes. The loops are unrolled here into a table of blocks, which
the interpreter walks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.kernels.records import BLOCK, Block
from qbnnc.runtime.plan import Plan
from qbnnc.runtime.program import Phase

Schedule = NDArray[np.int64]


def schedule(plan: Plan, rows: range, draws: range, chunk: int) -> Schedule:
    """Return the blocks as int64 [blocks, fields of a Block]."""
    table = [*blocks(plan, rows, draws, chunk)]
    return np.array(table, np.int64).reshape(-1, BLOCK.SIZE)


def blocks(plan: Plan, batch: range, draws: range, chunk: int) -> Iterator[Block]:
    """Yield the blocks of these rows and samples of one member, in the order of execution."""
    capacity = plan.arena.capacity
    prefix, sample, suffix = np.diff(plan.ends, prepend=0) > 0
    for start in batch[::chunk]:
        count = min(chunk, batch.stop - start)
        if prefix:
            for row in range(0, count, capacity.rows):
                yield Block(Phase.PREFIX, start, row, min(capacity.rows, count - row))
        if not sample and not suffix:
            continue
        rows = min(count, capacity.copies)
        samples = min(capacity.samples, max(1, capacity.copies // count))
        for first in draws[::samples]:
            some = min(samples, draws.stop - first)
            if sample:
                yield Block(Phase.SAMPLE, start, 0, 1, first, some)
            if suffix:
                for row in range(0, count, rows):
                    yield Block(Phase.SUFFIX, start, row, min(rows, count - row), first, some)
