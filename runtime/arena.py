"""The arena: the memory of a program, in which buffers share space over time.

The arena has a scratch part of fixed size, and a record for each row of a chunk. Records hold the
values of the prefix that the suffix reads. In the scratch part a buffer has as many elements as a
block (`Capacity`). Two buffers share space if they are never needed at the same time.

Buffers are placed largest first (`qbnnc.ir.placement`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.placement import Need, place
from qbnnc.ir.types import PER_ROW, PER_ROW_AND_SAMPLE, PER_SAMPLE, Axis
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.lowering import Step
from qbnnc.runtime.packing import aligned_bytes
from qbnnc.runtime.program import Buffer, Kind, Operand, Phase, Place

LARGEST_KEPT = 64 << 20  # bytes; a larger arena is freed after its prediction
_ALIGNMENT = 64
_MOST_BY_SIZE = 2000  # buffers, each of which is compared with each
_MOST = 1024  # elements of a block: enough to forget what a call costs


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most rows of a block of the prefix, and samples and copies of a block of the suffix."""

    rows: int
    samples: int
    copies: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A buffer of the scratch part, which steps first..last need."""

    buffer: Buffer
    offset: int
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Arena:
    """The layout of an arena.

    `kept` are the buffers of a row's record, in their order. `lower_bound` is needed at the worst
    step, so that no layout takes less.
    """

    capacity: Capacity
    slots: tuple[Slot, ...]
    kept: tuple[Buffer, ...]
    operands: dict[Buffer, Operand]
    scratch_bytes: int
    record_bytes: int
    lower_bound: int

    def locate(self, buffer: Buffer) -> Operand:
        """Return the operand of a buffer, as a program states it."""
        match buffer.kind:
            case Kind.OUT:
                return Operand(buffer.position, buffer.stride, Place.OUT)
            case Kind.INPUT:
                return Operand(buffer.position, buffer.stride, Place.INPUT)
            case Kind.CONSTANT:
                return Operand(buffer.position, 0, Place.CONSTANT)
            case _:
                return self.operands[buffer]


def allocate(
    steps: Sequence[Step], budget: int, *, reuse: bool = True, shared: Sequence[Buffer] = ()
) -> Arena:
    """Lay out the buffers of `steps`; blocks use about `budget` bytes at a time.

    Without `reuse` every value is still there when its phase has run, as `trace` needs it. The
    buffers `shared` come first in the record of a row: other programs in the arena use them too.
    """
    spans, known = _spans(steps, reuse=reuse), frozenset(shared)
    read = {b for s in steps if s.phase is Phase.SUFFIX for b in s.instruction.buffers()}
    kept = [*shared, *(b for b in spans if b not in known and b in read and _of_a_row(b))]
    in_records = frozenset(kept)
    placed = {b: span for b, span in spans.items() if b not in in_records}
    capacity = _capacity(placed, len(steps), budget)
    wanted = {b: (_nbytes(b, capacity), *span) for b, span in placed.items()}
    slots = _by_size(wanted) if len(wanted) <= _MOST_BY_SIZE else _by_time(wanted)
    scratch_bytes = max((s.offset + s.nbytes for s in slots), default=0)
    operands = {s.buffer: Operand(s.offset, s.buffer.stride, _place(s.buffer)) for s in slots}
    record_bytes, offset = sum(b.stride for b in kept), scratch_bytes
    for buffer in kept:
        operands[buffer] = Operand(offset, record_bytes, Place.ROW)
        offset += buffer.stride
    bound = lower_bound(slots, len(steps))
    return Arena(capacity, slots, tuple(kept), operands, scratch_bytes, record_bytes, bound)


def in_one(arenas: Sequence[Arena]) -> tuple[Arena, ...]:
    """Move the records to one place and give them one size, so that programs can share them."""
    scratch_bytes = max(arena.scratch_bytes for arena in arenas)
    record_bytes = max(arena.record_bytes for arena in arenas)

    def moved(arena: Arena, operand: Operand) -> Operand:
        if operand.place is not Place.ROW:
            return operand
        offset = operand.offset - arena.scratch_bytes + scratch_bytes
        return Operand(offset, record_bytes, Place.ROW)

    return tuple(
        replace(
            arena,
            operands={buffer: moved(arena, operand) for buffer, operand in arena.operands.items()},
            scratch_bytes=scratch_bytes,
            record_bytes=record_bytes,
        )
        for arena in arenas
    )


def lower_bound(slots: Sequence[Slot], steps: int) -> int:
    """Return the most bytes that one step needs."""
    return _most_at_once(((s.nbytes, s.first, s.last) for s in slots), steps)


def _most_at_once(sizes: Iterable[tuple[int, int, int]], steps: int) -> int:
    """Return the greatest sum at one step of (bytes, first step, last step)."""
    changes = [0] * (steps + 1)
    for nbytes, first, last in sizes:
        changes[first] += nbytes
        changes[last + 1] -= nbytes
    return max(accumulate(changes))


def _spans(steps: Sequence[Step], *, reuse: bool) -> dict[Buffer, tuple[int, int]]:
    """Find the first and the last step that needs each buffer.

    A value that is made once for many runs of the suffix is needed until the suffix ends.
    """
    spans, end = dict[Buffer, tuple[int, int]](), len(steps) - 1
    for i, step in enumerate(steps):
        for buffer in step.instruction.buffers():
            if buffer.kind in (Kind.OUT, Kind.INPUT, Kind.CONSTANT):
                continue
            first, last = spans.get(buffer, (i, i))[0], i
            if buffer.kind is Kind.VALUE and (
                not reuse
                or not buffer.axes
                or (step.phase, buffer.axes) == (Phase.SUFFIX, PER_SAMPLE)
            ):
                last = end
            spans[buffer] = (first, max(last, spans.get(buffer, (0, 0))[1]))
    return spans


def _of_a_row(buffer: Buffer) -> bool:
    """Tell whether a buffer holds a value of the prefix; records keep it if the suffix reads it."""
    return buffer.kind is Kind.VALUE and buffer.axes == PER_ROW


def _place(buffer: Buffer) -> Place:
    if buffer.axes == PER_SAMPLE:
        return Place.SAMPLE
    return Place.COPY if Axis.ROW in buffer.axes else Place.FIXED


def _capacity(spans: Mapping[Buffer, tuple[int, int]], steps: int, budget: int) -> Capacity:
    def most(axes: frozenset[Axis]) -> int:
        """Return the most bytes that one element of each buffer with these axes needs at once."""
        return _most_at_once(((b.stride, *s) for b, s in spans.items() if b.axes == axes), steps)

    rows, samples, copies = (
        max(1, min(_MOST, budget // max(1, most(axes))))
        for axes in (PER_ROW, PER_SAMPLE, PER_ROW_AND_SAMPLE)
    )
    return Capacity(rows, samples, copies)


def _nbytes(buffer: Buffer, capacity: Capacity) -> int:
    count = 1
    if buffer.kind is Kind.VALUE:
        counts = {
            PER_ROW: capacity.rows,
            PER_SAMPLE: capacity.samples,
            PER_ROW_AND_SAMPLE: capacity.copies,
        }
        count = counts.get(buffer.axes, 1)
    return round_up(buffer.stride * count, _ALIGNMENT)


def _by_size(wanted: Mapping[Buffer, tuple[int, int, int]]) -> tuple[Slot, ...]:
    """Place buffers largest first."""
    offsets = place({buffer: Need(*need) for buffer, need in wanted.items()}, _ALIGNMENT)
    return tuple(Slot(buffer, offset, *wanted[buffer]) for buffer, offset in offsets.items())


def _by_time(wanted: Mapping[Buffer, tuple[int, int, int]]) -> tuple[Slot, ...]:
    """Place buffers in the order of first steps, each at the lowest gap that is large enough.

    This serves programs of so many buffers that comparing all of them takes too long.
    """
    slots, free, end = list[Slot](), list[tuple[int, int]](), 0  # free: (offset, bytes), apart
    leaving = list[tuple[int, int, int]]()
    for buffer, (nbytes, first, last) in sorted(wanted.items(), key=lambda item: item[1][1]):
        while leaving and leaving[0][0] < first:
            _, offset, size = heappop(leaving)
            _give_back(free, offset, size)
        number = next((i for i, (_, size) in enumerate(free) if size >= nbytes), None)
        if number is None:
            offset, end = end, end + nbytes
        else:
            offset, size = free[number]
            free[number : number + 1] = [(offset + nbytes, size - nbytes)] if size > nbytes else []
        slots.append(Slot(buffer, offset, nbytes, first, last))
        heappush(leaving, (last, offset, nbytes))
    return tuple(slots)


def _give_back(free: list[tuple[int, int]], offset: int, size: int) -> None:
    """Enter space that is free now, joined with its neighbours."""
    number = bisect_left(free, (offset, 0))
    if number < len(free) and free[number][0] == offset + size:
        size += free.pop(number)[1]
    if number and sum(free[number - 1]) == offset:
        offset, before = free.pop(number - 1)
        size, number = size + before, number - 1
    free.insert(number, (offset, size))


class ArenaPool:
    """Arenas that predictions take and give back, so that threads never share one.

    There is no lock: Python's lists append and pop as one step.
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []

    def take(self, count: int) -> NDArray[np.uint8]:
        """Take an arena of at least `count` bytes, not cleared, for the caller alone."""
        try:
            arena = self._free.pop()
        except IndexError:
            return aligned_bytes(count)
        return arena if arena.size >= count else aligned_bytes(count)

    def give_back(self, arena: NDArray[np.uint8]) -> None:
        """Give an arena back for the next prediction."""
        if arena.size <= LARGEST_KEPT:
            self._free.append(arena)
