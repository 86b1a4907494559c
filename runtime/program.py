"""What an instruction is, and the columns in which a flat program holds it.

A program is `int64[operations, COLUMNS]`: the opcode, then the fields of an instruction in order.
A Buffer takes three columns (offset, stride, place), anything else one. `columns_of` gives the
kernels the number of each field's column, so that nobody writes a number by hand.
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

_OF_A_BYTE = 5.0  # multiplications of a convolution in the time of one byte of what is pointwise


class Phase(IntEnum):
    """When an instruction runs; each phase is run whole before the next one begins."""

    PREFIX = 0  # once for each row
    SAMPLE = 1  # once for each sample
    SUFFIX = 2  # once for each row of each sample


def phase_of(axes: Axes) -> Phase:
    """The phase that makes a value which varies along these axes."""
    if Axis.SAMPLE not in axes:
        return Phase.PREFIX
    return Phase.SUFFIX if Axis.ROW in axes else Phase.SAMPLE


class Place(IntEnum):
    """How the s-th sample and the r-th row of a block find their element of a buffer."""

    COPY = 0  # s * rows of the block + r, in scratch space
    ROW = 1  # first row of the block + r: kept for all rows of a chunk
    SAMPLE = 2  # s
    FIXED = 3  # one element for all
    OUT = 4  # sample and row of the prediction, in the float32 outputs
    INPUT = 5  # row of the batch, in the float32 input
    CONSTANT = 6  # one element for all, in the constants


class Kind(IntEnum):
    VALUE = 0  # of the graph, or made on the way
    SCRATCH = 1  # used inside one instruction
    OUT = 2
    INPUT = 3
    CONSTANT = 4


@dataclass(frozen=True, slots=True, eq=False)  # a Buffer is equal only to itself
class Buffer:
    """Room for a value: `stride` bytes (elements, if it is an input or output) for each index.

    `position` is where an output begins in one copy's row of all outputs, in elements, or where a
    constant lies, in bytes.
    """

    name: str
    stride: int
    axes: Axes
    kind: Kind = Kind.VALUE
    position: int = 0


@dataclass(frozen=True, slots=True)
class Operand:
    """A Buffer with its place: what a program says of it."""

    offset: int
    stride: int
    place: Place


Locate: TypeAlias = Callable[[Buffer], Operand]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """`output` is written; every other Buffer is read, or scratch space."""

    output: Buffer

    @classmethod
    def name(cls) -> str:
        """`max_pool` for the class MaxPool: the name of its kernel and of its rule."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    def buffers(self) -> list[Buffer]:
        """All buffers, the output first."""
        values = (getattr(self, f.name) for f in fields(self))
        return [v for v in values if isinstance(v, Buffer)]

    @property
    def work(self) -> float:
        """About how many multiplications it takes the time of, once."""
        return _OF_A_BYTE * self.output.stride

    @property
    def form(self) -> str:
        """Which of several ways it is done, for people to read."""
        return ""

    def encode(self, locate: Locate) -> list[int]:
        """The columns of a program's row after the opcode, not yet filled up with zeros."""
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
    """The first column of each field of `cls`, as attributes."""
    sizes = [(field.name, 3 if field.type == "Buffer" else 1) for field in fields(cls)]
    columns = numbered(cls.__name__, sizes, first=1)
    assert 1 + sum(size for _, size in sizes) <= COLUMNS
    return columns


def numbered(name: str, sizes: Sequence[tuple[str, int]], first: int = 0) -> ModuleType:
    """Where each field of a record of numbers begins, as attributes.

    The result is a module, because numba reads a module's numbers as constants and compiles them
    fast.
    """
    places = ModuleType(f"places in {name}")
    for field, size in sizes:
        setattr(places, field, first)
        first += size
    return places
