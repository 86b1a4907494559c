"""Running a plan: the batch in chunks of rows, each in blocks that stay in the cache.

    for each chunk of rows:
        for each block of its rows: the prefix
        for each block of samples:
            the sample range, with one row
            for each block of the chunk's rows: the suffix

What is computed does not depend on any of these sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.lowering import Range
from qbnnc.runtime.plan import Plan

Float32 = NDArray[np.float32]
Run: TypeAlias = Callable[
    [
        NDArray[np.int64],
        int,
        int,
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
    """`samples` draws from `first_sample` on, of `rows` rows from `first_row` of the chunk on.

    `start` is the chunk's first row in the batch.
    """

    start: int
    first_row: int
    rows: int
    first_sample: int = 0
    samples: int = 1


Observe: TypeAlias = Callable[[Range, Block], None]


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


def execute(
    run: Run,
    plan: Plan,
    request: Request,
    chunk: int,
    arena: NDArray[np.uint8],
    out: Float32,
    observe: Observe | None = None,
) -> None:
    """Write this member's samples to `out`, all outputs [L, B, *shape] one after the other.

    `arena` has room for chunks of `chunk` rows. `observe` is called after each run of a range.
    """
    x = np.require(request.x.reshape(-1), np.float32, ["C", "A"]).view()
    x.flags.writeable = False  # the interpreter is compiled for one type of each argument
    for range_, block in blocks(plan, len(request.x), request.draws, chunk):
        first = 0 if range_ is Range.PREFIX else plan.ends[range_ - 1]
        if first < plan.ends[range_]:
            context = _context(request, block)
            run(plan.program, first, plan.ends[range_], context, x, arena, plan.constants, out)
            if observe is not None:
                observe(range_, block)


def blocks(plan: Plan, batch: int, draws: int, chunk: int) -> Iterator[tuple[Range, Block]]:
    """In which order which range is run over which block."""
    capacity, suffix = plan.arena.capacity, plan.ends[2] > plan.ends[0]
    for start in range(0, batch, chunk):
        count = min(chunk, batch - start)
        for row in range(0, count, capacity.rows):
            yield Range.PREFIX, Block(start, row, min(capacity.rows, count - row))
        if not suffix:
            continue
        rows = min(count, capacity.copies)
        samples = min(capacity.samples, max(1, capacity.copies // count))
        for sample in range(0, draws, samples):
            some = min(samples, draws - sample)
            yield Range.SAMPLE, Block(start, 0, 1, sample, some)
            for row in range(0, count, rows):
                yield Range.SUFFIX, Block(start, row, min(rows, count - row), sample, some)


def _context(request: Request, block: Block) -> NDArray[np.int64]:
    """What the kernels are told of a block, in the order of CONTEXT."""
    batch, members = len(request.x), request.members
    row = block.start + block.first_row
    sample = block.first_sample * members + request.member
    context = np.zeros(CONTEXT.SIZE, np.int64)
    context[CONTEXT.SAMPLES] = block.samples
    context[CONTEXT.ROWS] = block.rows
    context[CONTEXT.FIRST_ROW] = block.first_row
    context[CONTEXT.SEED] = signed(request.seed)
    context[CONTEXT.SAMPLE_NUMBER] = sample
    context[CONTEXT.SAMPLE_STEP] = members
    context[CONTEXT.ROW_NUMBER] = signed(request.first_row + row)
    context[CONTEXT.INPUT_ROW] = row
    context[CONTEXT.OUT_FIRST] = sample * batch + row
    context[CONTEXT.OUT_STEP] = members * batch
    context[CONTEXT.OUT_COPIES] = request.samples * batch
    return context


def signed(number: int) -> int:
    """`number` mod 2^64 as the int64 of the same bits."""
    return (number + 2**63) % 2**64 - 2**63
