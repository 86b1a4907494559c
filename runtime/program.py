"""Instructions, their buffers, and the columns in which a flat program holds them.

A program is `int64[operations, COLUMNS]`: the opcode, then the fields of an instruction in order.
A Buffer takes three columns (offset, stride, place), and any other field takes one. `columns_of`
gives the kernels the number of each field's column, so that nobody writes a number by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from types import ModuleType
from typing import TypeAlias

from qbnnc.ir.types import Axes, Axis

COLUMNS = 48

_WORK_OF_A_BYTE = 5.0  # of a pointwise output, in multiplications of a convolution


class Phase(IntEnum):
    """The times at which instructions run; each phase runs whole before the next one begins."""

    PREFIX = 0  # once for each row
    SAMPLE = 1  # once for each sample
    SUFFIX = 2  # once for each row of each sample


def phase_of(axes: Axes) -> Phase:
    """Return the phase that makes a value which varies along these axes."""
    if Axis.SAMPLE not in axes:
        return Phase.PREFIX
    return Phase.SUFFIX if Axis.ROW in axes else Phase.SAMPLE


class Place(IntEnum):
    """The rule by which sample s and row r of a block find their element of a buffer."""

    COPY = 0  # element s * rows of the block + r, in scratch space
    ROW = 1  # element first row of the block + r, in records kept for all rows of a chunk
    SAMPLE = 2  # element s, in scratch space
    FIXED = 3  # one element for all, in scratch space
    OUT = 4  # the sample and row of the prediction, in the float32 outputs
    INPUT = 5  # the row of the batch, in the float32 input, from a number of the row on
    CONSTANT = 6  # one element for all, in the constants


class Kind(IntEnum):
    """The memory that a buffer belongs to."""

    VALUE = 0  # the arena: a value of the graph, or an intermediate one
    SCRATCH = 1  # the arena, inside one instruction
    OUT = 2
    INPUT = 3
    CONSTANT = 4


@dataclass(frozen=True, slots=True, eq=False)  # a Buffer is equal only to itself
class Buffer:
    """Memory for a value: `stride` bytes for each element, in the sense of Place.

    The stride of an input or output counts float32 numbers. `position` is the byte at which a
    constant begins, or the number at which an output begins among all outputs of a copy, and an
    input in the row of all inputs.
    """

    name: str
    stride: int
    axes: Axes
    kind: Kind = Kind.VALUE
    position: int = 0


@dataclass(frozen=True, slots=True)
class Operand:
    """A Buffer as a program states it: three columns."""

    offset: int
    stride: int
    place: Place


Locate: TypeAlias = Callable[[Buffer], Operand]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """An operation of a program, which writes `output`.

    Other Buffers are read, or are scratch space.
    """

    output: Buffer

    @classmethod
    def name(cls) -> str:
        """`max_pool` for the class MaxPool: the name of its kernel and of its rule."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def buffers(self) -> list[Buffer]:
        """Return all buffers, the output first."""
        values = (getattr(self, f.name) for f in fields(self))
        return [v for v in values if isinstance(v, Buffer)]

    @property
    def work(self) -> float:
        """The estimated time of one run, in multiplications of a convolution."""
        return _WORK_OF_A_BYTE * self.output.stride

    @property
    def form(self) -> str:
        """The variant of the kernel that runs, in words; "" if there is one alone."""
        return ""

    def encode(self, locate: Locate) -> list[int]:
        """Return the columns of a program's row after the opcode, without padding."""
        row = list[int]()
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Buffer):
                place = locate(value)
                row += [place.offset, place.stride, int(place.place)]
            else:
                row.append(int(value))
        return row


def columns_of(cls: type[Instruction]) -> ModuleType:
    """Return the first column of each field of `cls`, as attributes of a module."""
    sizes = [(field.name, 3 if field.type == "Buffer" else 1) for field in fields(cls)]
    columns = numbered(cls.__name__, sizes, first=1)
    assert 1 + sum(size for _, size in sizes) <= COLUMNS
    return columns


def numbered(name: str, sizes: Sequence[tuple[str, int]], first: int = 0) -> ModuleType:
    """Return the place at which each field of a record begins, as attributes of a module.

    The result is a module, because numba reads a module's numbers as constants and compiles them
    fast.
    """
    places = ModuleType(f"places in {name}")
    for field, size in sizes:
        setattr(places, field, first)
        first += size
    return places
