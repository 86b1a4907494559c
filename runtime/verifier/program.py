"""The walk over a program, which checks each line's accesses against its memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.program import COLUMNS, Instruction, Operand, Phase, Place
from qbnnc.runtime.verifier.line import Access, Line, Rule, Violation
from qbnnc.runtime.verifier.regions import Region, Regions
from qbnnc.runtime.verifier.rules import (
    choice,
    contraction,
    dropout,
    embedding,
    masked_layers,
    moves,
    noise,
    normalization,
    pointwise,
    pooling,
    products,
    quantization,
    sampled_weights,
    softmax,
)

READ_BEYOND = 64  # bytes that an arena has after its last record, which no value uses

RULES: dict[type[Instruction], Rule] = {
    **choice.RULES,
    **contraction.RULES,
    **dropout.RULES,
    **embedding.RULES,
    **masked_layers.RULES,
    **moves.RULES,
    **noise.RULES,
    **normalization.RULES,
    **pointwise.RULES,
    **pooling.RULES,
    **products.RULES,
    **quantization.RULES,
    **sampled_weights.RULES,
    **softmax.RULES,
}

_READ_FROM = {  # the places that a block of each phase reads and writes
    Phase.PREFIX: {Place.COPY, Place.ROW, Place.FIXED, Place.INPUT, Place.CONSTANT},
    Phase.SAMPLE: {Place.SAMPLE, Place.FIXED, Place.CONSTANT},
    Phase.SUFFIX: {Place.COPY, Place.ROW, Place.SAMPLE, Place.FIXED, Place.CONSTANT},
}
_WRITTEN_TO = {
    Phase.PREFIX: {Place.COPY, Place.ROW, Place.FIXED, Place.OUT},
    Phase.SAMPLE: {Place.SAMPLE, Place.OUT},
    Phase.SUFFIX: {Place.COPY, Place.OUT},
}


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a program.

    `rows`, `samples` and `copies` are the most that a block has. `input_size` is in float32
    numbers. `outputs` are (float32 numbers of a copy, phase that writes it or None).
    """

    regions: tuple[Region, ...]
    scratch_bytes: int
    record_bytes: int
    rows: int
    samples: int
    copies: int
    input_size: int
    outputs: tuple[tuple[int, int | None], ...]


@dataclass(slots=True)
class _Written:
    """A write that has happened: its phase, place, stride, and bytes from each element's begin.

    A value that is written in parts has `joined` bytes of each of its `steps` (bytes, count).
    """

    phase: Phase
    place: Place
    stride: int
    extent: int
    joined: int = 0
    steps: tuple[int, int] = (0, 0)
    form: tuple[int, ...] = ()


def verify(
    program: NDArray[np.int64],
    ends: Sequence[int],
    constants: NDArray[np.uint8],
    memory: Memory,
) -> tuple[int, str] | None:
    """Find the first line that could leave its memory; return (number, reason), or None.

    `program` is int64 [steps, COLUMNS]. `ends` says where prefix, sample phase and suffix end. The
    number is -1 if the memory or the outputs are wrong.
    """
    number = -1
    try:
        walk = _Walk(len(program), constants, memory)
        _expect_ends(program, ends)
        for number, row in enumerate(program.tolist()):
            phase = next(Phase(i) for i, end in enumerate(ends) if number < end)
            walk.step(number, phase, row)
        number = -1
        walk.expect_made()
    except Violation as violation:
        return number, str(violation)
    return None


def _expect_ends(program: NDArray[np.int64], ends: Sequence[int]) -> None:
    if list(ends) != sorted(ends) or len(ends) != 3 or ends[0] < 0 or ends[2] != len(program):
        raise Violation(f"phases end at {list(ends)} in a program of {len(program)} lines")
    if program.shape[1:] != (COLUMNS,):
        raise Violation(f"lines have {program.shape[1:]} numbers")


class _Walk:
    """The state of a walk: which regions and outputs are written."""

    def __init__(self, steps: int, constants: NDArray[np.uint8], memory: Memory) -> None:
        if min(memory.rows, memory.samples, memory.copies) < 1:
            raise Violation("a block has no rows, samples or copies")
        self._last, self._constants, self._memory = steps - 1, constants, memory
        self._regions = Regions(memory.regions, memory.scratch_bytes, memory.record_bytes)
        self._written = {
            region: _Written(Phase.PREFIX, Place.ROW, memory.record_bytes, region.nbytes)
            for region in memory.regions
            if region.given
        }
        self._outputs, position = dict[int, tuple[int, int | None]](), 0
        for size, phase in memory.outputs:
            self._outputs[position] = (size, phase)
            position += size
        self._made = set[int]()

    def step(self, number: int, phase: Phase, row: Sequence[int]) -> None:
        """Check one line."""
        line = Line(row, self._constants)
        RULES[line.instruction](line)
        used, made = list[Region](), list[Region]()
        for access in line.accesses:
            if access.field == "scratch":
                used.append(self._scratch(number, access))
            elif access.writes:
                made += self._write(number, phase, access)
            else:
                used += self._read(number, phase, access)
        if any(mine is other for mine in made for other in used):
            raise Violation("the line writes to a region that it reads")

    def _scratch(self, number: int, access: Access) -> Region:
        region = self._regions.find(access.operand.offset, number)
        _expect_inside(access, access.extent, region)
        _expect_aligned(access, region.offset)
        return region

    def _read(self, number: int, phase: Phase, access: Access) -> list[Region]:
        operand = access.operand
        if operand.place not in _READ_FROM[phase]:
            raise Violation(f"{access.field} is read at place {operand.place.name}")
        match operand.place:
            case Place.INPUT:
                self._expect_numbers(access, self._memory.input_size, operand.offset)
                return []
            case Place.CONSTANT:
                whole = operand.offset + access.extent + access.beyond
                if whole > self._constants.size:
                    raise Violation(f"{access.field} reads constants up to byte {whole}")
                _expect_aligned(access, operand.offset)
                return []
        region = self._region(number, phase, access)
        written = self._written.get(region)
        if written is None or written.extent < access.extent:
            done = 0 if written is None else written.extent
            raise Violation(f"{access.field}: {access.extent} bytes are read, {done} are written")
        if (operand.place, operand.stride) != (written.place, written.stride):
            raise Violation(f"{access.field} is read at other places than it is written")
        if access.form != written.form:
            raise Violation(f"{access.field} is read in another form than it is written")
        if access.beyond > READ_BEYOND:
            raise Violation(f"{access.field} reads {access.beyond} bytes beyond its end")
        if written.phase < phase and not region.in_record and region.last < self._last:
            raise Violation(f"{access.field} is not kept until the last step")
        if (operand.place, written.phase) == (Place.COPY, Phase.PREFIX) and phase == Phase.SUFFIX:
            raise Violation(f"{access.field} exists for each row, and is read for each sample")
        return [region]

    def _write(self, number: int, phase: Phase, access: Access) -> list[Region]:
        operand = access.operand
        if operand.place not in _WRITTEN_TO[phase]:
            raise Violation(f"{access.field} is written at place {operand.place.name}")
        if operand.place is Place.OUT:
            size, its_phase = self._outputs.get(operand.offset, (-1, None))
            if size != access.extent or its_phase != phase or access.beyond:
                raise Violation(
                    f"{access.field}: no output of this phase has {access.extent} numbers there"
                )
            self._expect_numbers(access, size)
            self._made.add(operand.offset)
            return []
        region = self._region(number, phase, access)
        if access.extent + access.beyond > self._each(region, operand):
            raise Violation(f"{access.field} stores beyond its end")
        self._note(region, phase, access)
        return [region]

    def _note(self, region: Region, phase: Phase, access: Access) -> None:
        """Note a write; parts in the order of their places make a whole."""
        made = _Written(phase, access.operand.place, access.operand.stride, 0)
        if access.part is None:
            self._written[region] = made
            made.extent, made.form = access.extent, access.form
            return
        first, run, step, count = access.part
        made.steps = (step, count)
        before = self._written.setdefault(region, made)
        if before.joined != first or replace(before, joined=0, extent=0) != replace(made, joined=0):
            raise Violation(f"{access.field}: the parts of the value leave bytes out")
        before.joined = first + run
        before.extent = step * count if before.joined == step else 0

    def _region(self, number: int, phase: Phase, access: Access) -> Region:
        """Find the region of an operand, and check that it holds all elements of a block."""
        operand, memory = access.operand, self._memory
        region = self._regions.find(operand.offset, number)
        if region.in_record != (operand.place is Place.ROW):
            raise Violation(f"{access.field} is kept elsewhere")
        _expect_aligned(access, operand.offset, operand.stride)
        if region.in_record:
            if operand.stride != memory.record_bytes:
                raise Violation(f"{access.field} is in records of {operand.stride} bytes")
            _expect_inside(access, access.extent, region)
            return region
        count = 1
        if operand.place is Place.COPY:
            count = memory.rows if phase == Phase.PREFIX else memory.copies
        elif operand.place is Place.SAMPLE:
            count = memory.samples
        if count > 1 and access.extent > operand.stride:
            raise Violation(
                f"{access.field}: elements of {access.extent} bytes are {operand.stride} apart"
            )
        _expect_inside(access, (count - 1) * operand.stride + access.extent, region)
        return region

    def _each(self, region: Region, operand: Operand) -> int:
        """Return the bytes of one element: vectors stored beyond them would reach finished ones."""
        if operand.place in (Place.COPY, Place.SAMPLE):
            return min(operand.stride, region.nbytes)
        return region.nbytes

    def _expect_numbers(self, access: Access, size: int, first: int = 0) -> None:
        """Check that numbers `first`, first + 1, ... of an element are inside it."""
        used = first + access.extent + access.beyond
        if access.operand.stride != size or used > size:
            raise Violation(f"{access.field}: {used} numbers are used, and it has {size}")

    def expect_made(self) -> None:
        """Check that records are written, and outputs that are no copies of other values."""
        if any(region.in_record and region not in self._written for region in self._memory.regions):
            raise Violation("no line writes a part of the records")
        for position, (_, phase) in self._outputs.items():
            if phase is not None and position not in self._made:
                raise Violation(f"no line writes the output at number {position}")


def _expect_inside(access: Access, extent: int, region: Region) -> None:
    if extent > region.nbytes:
        raise Violation(f"{access.field} takes {extent} bytes, and has {region.nbytes}")


def _expect_aligned(access: Access, *places: int) -> None:
    if any(place % access.alignment for place in places):
        raise Violation(f"{access.field} is not aligned to {access.alignment} bytes")
