"""Running a plan: the batch in chunks of rows, each in blocks that stay in the cache.

    for each chunk of rows:
        for each block of its rows: the prefix
        for each block of samples:
            the sample range, with one row
            for each block of the chunk's rows: the suffix

What is computed does not depend on any of these sizes. The loops are worked out here, as a table
that the interpreter goes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.lowering import Range
from qbnnc.runtime.plan import Plan

Float32 = NDArray[np.float32]
Schedule = NDArray[np.int64]
Execute: TypeAlias = Callable[
    [
        NDArray[np.int64],
        NDArray[np.int64],
        Schedule,
        NDArray[np.int64],
        Float32,
        NDArray[np.uint8],
        NDArray[np.uint8],
        Float32,
    ],
    None,
]


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


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Which random numbers a batch x [B, *shape] sees, and of which member of how many."""

    x: Float32
    draws: int
    seed: int
    first_row: int
    member: int
    members: int

    @property
    def samples(self) -> int:
        """L: the draws of all members."""
        return self.draws * self.members

    def of(self, member: int) -> Request:
        """The same of another member."""
        return self if member == self.member else replace(self, member=member)

    def numbers(self) -> NDArray[np.int64]:
        """As the interpreter takes it: kernels.context, REQUEST."""
        return np.array(
            [
                signed(self.seed),
                signed(self.first_row),
                self.member,
                self.members,
                len(self.x),
                self.samples,
            ],
            np.int64,
        )


def execute(
    run: Execute,
    plan: Plan,
    request: Request,
    schedule: Schedule,
    arena: NDArray[np.uint8],
    out: Float32,
) -> None:
    """Write this member's samples to `out`, all outputs [L, B, *shape] one after the other.

    `arena` has room for the chunks of the schedule, a table of blocks for this batch.
    """
    x = request.x.reshape(-1)
    if x.flags.writeable:  # the interpreter is compiled for one type of each argument
        x.flags.writeable = False
    run(plan.program, plan.ends, schedule, request.numbers(), x, arena, plan.constants, out)


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


def signed(number: int) -> int:
    """`number` mod 2^64 as the int64 of the same bits."""
    return (number + 2**63) % 2**64 - 2**63
