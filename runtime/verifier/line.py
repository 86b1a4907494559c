"""One line of a program, decoded, and the bytes that its kernel touches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.families import BY_OPCODE
from qbnnc.runtime.layout import CODES, round_up
from qbnnc.runtime.program import COLUMNS, Operand, Place

LARGEST = 1 << 46  # address, stride or count, so that sums and products fit into int64
LARGEST_EXTENT = (1 << 31) - 1  # of the numbers that kernels multiply with each other
ARENA = frozenset({Place.COPY, Place.ROW, Place.SAMPLE, Place.FIXED})
ARENA_OR_CONSTANT = ARENA | {Place.CONSTANT}
_ANY = frozenset({"stream"})  # numbers that are only mixed into a random key, mod 2^64


class Violation(Exception):
    """A line that could leave its memory, or read bytes that no line has written."""


@dataclass(frozen=True, slots=True)
class Access:
    """The bytes of an element that a kernel touches; float32 numbers of an input or output.

    `extent` bytes count from the begin of the element. `beyond` more are read and not used, or
    stored and then overwritten. A write fills its extent, or a run in each of some steps: then
    `part` is (first, run, step, count).
    """

    field: str
    operand: Operand
    extent: int
    beyond: int = 0
    alignment: int = 1
    writes: bool = False
    part: tuple[int, int, int, int] | None = None
    form: tuple[int, ...] = ()


class Line:
    """A line of a program. Numbers are attributes, and buffers are `operand(name)`.

    `accesses` collects the bytes that the rule of the line's instruction states.
    """

    def __init__(self, row: Sequence[int], constants: NDArray[np.uint8]) -> None:
        if row[0] not in BY_OPCODE:
            raise Violation(f"{row[0]} is no opcode")
        self.instruction = BY_OPCODE[row[0]]
        self.accesses: list[Access] = []
        self._constants = constants
        self._numbers, self._operands = dict[str, int](), dict[str, Operand]()
        column = 1
        for field in fields(self.instruction):
            if field.type == "Buffer":
                offset, stride, place = row[column : column + 3]
                _expect_small(f"{field.name}'s offset", offset, LARGEST)
                _expect_small(f"{field.name}'s stride", stride, LARGEST)
                if place not in {int(p) for p in Place}:
                    raise Violation(f"{field.name} is at place {place}, which does not exist")
                self._operands[field.name] = Operand(offset, stride, Place(place))
                column += 3
            else:
                if field.name not in _ANY:
                    most = LARGEST if field.name == "size" else LARGEST_EXTENT
                    _expect_small(field.name, row[column], most, least=-most - 1)
                self._numbers[field.name] = row[column]
                column += 1
        if any(row[column:COLUMNS]):
            raise Violation("numbers follow the last field")

    def __getattr__(self, name: str) -> int:
        try:
            return self._numbers[name]
        except KeyError:
            raise AttributeError(name) from None

    def operand(self, name: str) -> Operand:
        """Return the operand of a buffer."""
        return self._operands[name]

    def require(self, holds: bool, what: str) -> None:
        """Raise Violation unless `holds`."""
        if not holds:
            raise Violation(what)

    def positive(self, names: str) -> None:
        """Require that each of these numbers is 1 or more."""
        for name in names.split():
            self.require(
                getattr(self, name) >= 1, f"{name} is {getattr(self, name)}, not 1 or more"
            )

    def natural(self, names: str) -> None:
        """Require that each of these numbers is 0 or more."""
        for name in names.split():
            self.require(
                getattr(self, name) >= 0, f"{name} is {getattr(self, name)}, not 0 or more"
            )

    def flag(self, name: str) -> bool:
        """Require that a number is 0 or 1; return it as a bool."""
        number = getattr(self, name)
        self.require(number in (0, 1), f"{name} is {number}, neither 0 nor 1")
        return bool(number == 1)

    def beyond_vectors(self, channels: int) -> int:
        """Count the codes of a pixel's whole vectors beyond its channels.

        Kernels that are LLVM IR read and store CODES at a time.
        """
        return round_up(channels, CODES) - channels

    def read(
        self,
        name: str,
        extent: int,
        beyond: int = 0,
        alignment: int = 1,
        form: tuple[int, ...] = (),
        places: frozenset[Place] = ARENA,
    ) -> None:
        """State a read of an element: bytes, or numbers of an input.

        `places` are those whose memory the kernel reads. It would take an offset into any other
        memory for one into these.
        """
        operand = self.operand(name)
        self.require(operand.place in places, f"{name} is read at place {operand.place.name}")
        self.accesses.append(Access(name, operand, extent, beyond, alignment, form=form))

    def write(
        self,
        extent: int,
        beyond: int = 0,
        alignment: int = 1,
        form: tuple[int, ...] = (),
        *,
        leaves: bool = False,
    ) -> None:
        """State a write of every byte of the output's extent, or of all that its form says.

        With `leaves` the kernel writes float32 numbers to an output of the network. Otherwise it
        writes bytes to the arena.
        """
        output = self._written_to(leaves=leaves)
        self.accesses.append(
            Access("output", output, extent, beyond, alignment, writes=True, form=form)
        )

    def write_part(self, first: int, run: int, step: int, count: int) -> None:
        """State a write of bytes first..first + run of each of `count` steps of the output."""
        output, extent = self._written_to(leaves=False), first + (count - 1) * step + run
        self.accesses.append(
            Access("output", output, extent, writes=True, part=(first, run, step, count))
        )

    def _written_to(self, *, leaves: bool) -> Operand:
        """Return the output, and require that it lies where the kernel writes."""
        output = self.operand("output")
        if leaves:
            what = "float32 numbers go elsewhere than to an output"
            self.require(output.place is Place.OUT, what)
        else:
            self.require(output.place in ARENA, f"bytes are written at place {output.place.name}")
        return output

    def scratch(self, nbytes: int, beyond: int = 0) -> None:
        """State the use of scratch space of this line's own."""
        self.accesses.append(Access("scratch", self.operand("scratch"), nbytes, beyond, 8))

    def constants(self, name: str, nbytes: int, alignment: int = 4) -> int:
        """Require `nbytes` of constants at the offset that this number is; return the offset."""
        offset = getattr(self, name)
        self.require(
            offset >= 0 and offset % alignment == 0 and offset + nbytes <= self._constants.size,
            f"{name}: bytes {offset} to {offset + nbytes} are not in the constants, which have "
            f"{self._constants.size}",
        )
        return int(offset)

    def indices(self, name: str, count: int, least: int) -> int:
        """Return the greatest of `count` int32 constants, and require `least` or more of each."""
        offset = self.constants(name, 4 * count)
        found = self._constants[offset : offset + 4 * count].view(np.int32)
        self.require(int(found.min()) >= least, f"{name}: an index is {found.min()}")
        return int(found.max())

    def values(self, name: str, count: int) -> list[int]:
        """Return `count` int32 constants."""
        offset = self.constants(name, 4 * count)
        return [int(n) for n in self._constants[offset : offset + 4 * count].view(np.int32)]


Rule: TypeAlias = Callable[[Line], None]


def _expect_small(name: str, number: int, most: int, least: int = 0) -> None:
    if not least <= number <= most:
        raise Violation(f"{name} is {number}, which is not within {least} to {most}")
