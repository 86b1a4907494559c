"""The walk over a program: each line's accesses against rooms, outputs, input and constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.program import COLUMNS, Instruction, Operand, Place
from qbnnc.runtime.verifier.line import Access, Line, Rule, Violation
from qbnnc.runtime.verifier.rooms import Room, Rooms
from qbnnc.runtime.verifier.rules import (
    contraction,
    dropout,
    moves,
    pointwise,
    pooling,
    quantization,
    sampled_weights,
)

READ_BEYOND = 64  # bytes that an arena has after its last record, of which nothing is used
PREFIX, SAMPLE, SUFFIX = 0, 1, 2

RULES: dict[type[Instruction], Rule] = {
    **contraction.RULES,
    **dropout.RULES,
    **moves.RULES,
    **pointwise.RULES,
    **pooling.RULES,
    **quantization.RULES,
    **sampled_weights.RULES,
}

_READ_FROM = {  # where a block of each range may read, and where it must write
    PREFIX: {Place.COPY, Place.ROW, Place.FIXED, Place.INPUT, Place.CONSTANT},
    SAMPLE: {Place.SAMPLE, Place.FIXED, Place.CONSTANT},
    SUFFIX: {Place.COPY, Place.ROW, Place.SAMPLE, Place.FIXED, Place.CONSTANT},
}
_WRITTEN_TO = {
    PREFIX: {Place.COPY, Place.ROW, Place.FIXED, Place.OUT},
    SAMPLE: {Place.SAMPLE, Place.OUT},
    SUFFIX: {Place.COPY, Place.OUT},
}


@dataclass(frozen=True, slots=True)
class Memory:
    """What a program has: `outputs` are (float32 numbers of a copy, range that writes it or None).

    `rows`, `samples` and `copies` are the most of a block; `input_size` in float32 numbers.
    """

    rooms: tuple[Room, ...]
    scratch_bytes: int
    record_bytes: int
    rows: int
    samples: int
    copies: int
    input_size: int
    outputs: tuple[tuple[int, int | None], ...]


@dataclass(slots=True)
class _Written:
    """By which range, at which place and stride, the bytes from the begin of each element.

    Of what is written in parts: `joined` bytes of each step, of `count` steps of `step` bytes.
    """

    range: int
    place: Place
    stride: int
    extent: int
    joined: int = 0
    steps: tuple[int, int] = (0, 0)


def verify(
    program: NDArray[np.int64],
    ends: Sequence[int],
    constants: NDArray[np.uint8],
    memory: Memory,
) -> tuple[int, str] | None:
    """The first line that could leave its memory, and why; None if none can.

    `program` int64 [steps, COLUMNS]; `ends`: where prefix, sample range and suffix end. A number
    of -1 in place of a line: it is the memory or the outputs that are wrong.
    """
    number = -1
    try:
        walk = _Walk(len(program), constants, memory)
        _expect_ends(program, ends)
        for number, row in enumerate(program.tolist()):
            range_ = next(i for i, end in enumerate(ends) if number < end)
            walk.step(number, range_, row)
        number = -1
        walk.expect_made()
    except Violation as violation:
        return number, str(violation)
    return None


def _expect_ends(program: NDArray[np.int64], ends: Sequence[int]) -> None:
    if list(ends) != sorted(ends) or len(ends) != 3 or ends[0] < 0 or ends[2] != len(program):
        raise Violation(f"ranges end at {list(ends)} in a program of {len(program)} lines")
    if program.shape[1:] != (COLUMNS,):
        raise Violation(f"lines of {program.shape[1:]} numbers")


class _Walk:
    def __init__(self, steps: int, constants: NDArray[np.uint8], memory: Memory) -> None:
        if min(memory.rows, memory.samples, memory.copies) < 1:
            raise Violation("blocks of nothing")
        self._last, self._constants, self._memory = steps - 1, constants, memory
        self._rooms = Rooms(memory.rooms, memory.scratch_bytes, memory.record_bytes)
        self._written = {
            room: _Written(PREFIX, Place.ROW, memory.record_bytes, room.nbytes)
            for room in memory.rooms
            if room.given
        }
        self._outputs, position = dict[int, tuple[int, int | None]](), 0
        for size, range_ in memory.outputs:
            self._outputs[position] = (size, range_)
            position += size
        self._made = set[int]()

    def step(self, number: int, range_: int, row: Sequence[int]) -> None:
        line = Line(row, self._constants)
        RULES[line.instruction](line)
        used, made = list[Room](), list[Room]()
        for access in line.accesses:
            if access.field == "scratch":
                used.append(self._scratch(number, access))
            elif access.writes:
                made += self._write(number, range_, access)
            else:
                used += self._read(number, range_, access)
        if any(mine is other for mine in made for other in used):
            raise Violation("writes what it reads")

    def _scratch(self, number: int, access: Access) -> Room:
        room = self._rooms.find(access.operand.offset, number)
        _expect_room(access, access.extent, room)
        _expect_aligned(access, room.offset)
        return room

    def _read(self, number: int, range_: int, access: Access) -> list[Room]:
        operand = access.operand
        if operand.place not in _READ_FROM[range_]:
            raise Violation(f"{access.field} is read at place {operand.place.name}")
        match operand.place:
            case Place.INPUT:
                self._expect_numbers(access, self._memory.input_size)
                return []
            case Place.CONSTANT:
                whole = operand.offset + access.extent + access.beyond
                if whole > self._constants.size:
                    raise Violation(f"{access.field} reads constants up to byte {whole}")
                _expect_aligned(access, operand.offset)
                return []
        room = self._room(number, range_, access)
        written = self._written.get(room)
        if written is None or written.extent < access.extent:
            done = 0 if written is None else written.extent
            raise Violation(f"{access.field}: {access.extent} bytes are read, {done} are written")
        if (operand.place, operand.stride) != (written.place, written.stride):
            raise Violation(f"{access.field} is read at other places than it is written")
        if access.beyond > READ_BEYOND:
            raise Violation(f"{access.field} reads {access.beyond} bytes beyond its end")
        if written.range < range_ and not room.in_record and room.last < self._last:
            raise Violation(f"{access.field} is not kept until the last step")
        if (operand.place, written.range) == (Place.COPY, PREFIX) and range_ == SUFFIX:
            raise Violation(f"{access.field} is one of each row, not of each sample")
        return [room]

    def _write(self, number: int, range_: int, access: Access) -> list[Room]:
        operand = access.operand
        if operand.place not in _WRITTEN_TO[range_]:
            raise Violation(f"{access.field} is written at place {operand.place.name}")
        if operand.place is Place.OUT:
            size, its_range = self._outputs.get(operand.offset, (-1, None))
            if size != access.extent or its_range != range_ or access.beyond:
                raise Violation(f"{access.field}: {access.extent} numbers are no output")
            self._expect_numbers(access, size)
            self._made.add(operand.offset)
            return []
        room = self._room(number, range_, access)
        if access.extent + access.beyond > self._each(room, operand):
            raise Violation(f"{access.field} stores beyond its end")
        self._note(room, range_, access)
        return [room]

    def _note(self, room: Room, range_: int, access: Access) -> None:
        """What is written now; parts in the order of their places make a whole."""
        made = _Written(range_, access.operand.place, access.operand.stride, 0)
        if access.part is None:
            self._written[room] = made
            made.extent = access.extent
            return
        first, run, step, count = access.part
        made.steps = (step, count)
        before = self._written.setdefault(room, made)
        if before.joined != first or replace(before, joined=0, extent=0) != replace(made, joined=0):
            raise Violation(f"{access.field}: parts of a value that leave something out")
        before.joined = first + run
        before.extent = step * count if before.joined == step else 0

    def _room(self, number: int, range_: int, access: Access) -> Room:
        """That of an operand, which holds all elements of a block or a chunk."""
        operand, memory = access.operand, self._memory
        room = self._rooms.find(operand.offset, number)
        if room.in_record != (operand.place is Place.ROW):
            raise Violation(f"{access.field} is kept elsewhere")
        _expect_aligned(access, operand.offset, operand.stride)
        if room.in_record:
            if operand.stride != memory.record_bytes:
                raise Violation(f"{access.field} has records of {operand.stride} bytes")
            _expect_room(access, access.extent, room)
            return room
        count = 1
        if operand.place is Place.COPY:
            count = memory.rows if range_ == PREFIX else memory.copies
        elif operand.place is Place.SAMPLE:
            count = memory.samples
        if count > 1 and access.extent > operand.stride:
            raise Violation(f"{access.field}: {access.extent} bytes, one each {operand.stride}")
        _expect_room(access, (count - 1) * operand.stride + access.extent, room)
        return room

    def _each(self, room: Room, operand: Operand) -> int:
        """Bytes for one element, so that vectors stored beyond it reach nothing that is done."""
        if operand.place in (Place.COPY, Place.SAMPLE):
            return min(operand.stride, room.nbytes)
        return room.nbytes

    def _expect_numbers(self, access: Access, size: int) -> None:
        if access.operand.stride != size or access.extent + access.beyond > size:
            raise Violation(f"{access.field}: {access.extent} of {size} numbers")

    def expect_made(self) -> None:
        """What others read is written: records, and outputs that are no copies of anything."""
        if any(room.in_record and room not in self._written for room in self._memory.rooms):
            raise Violation("nothing writes a part of the records")
        for position, (_, range_) in self._outputs.items():
            if range_ is not None and position not in self._made:
                raise Violation(f"nothing writes the output at number {position}")


def _expect_room(access: Access, extent: int, room: Room) -> None:
    if extent > room.nbytes:
        raise Violation(f"{access.field} takes {extent} bytes, and has {room.nbytes}")


def _expect_aligned(access: Access, *places: int) -> None:
    if any(place % access.alignment for place in places):
        raise Violation(f"{access.field} is not aligned to {access.alignment} bytes")
