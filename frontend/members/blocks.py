"""The part of a value that belongs to one member: one of several equal blocks of an axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from qbnnc.ir.types import Array


@dataclass(frozen=True, slots=True)
class Block:
    """Element `index` of `count`, where an axis is [before, count, after] in row-major order.

    The part keeps [before, after] as one axis, which vanishes if it is 1.
    """

    axis: int
    before: int
    count: int
    after: int
    index: int

    @property
    def extent(self) -> int:
        """The extent of the axis in the part."""
        return self.before * self.after

    @property
    def vanishes(self) -> bool:
        return self.extent == 1

    def shape(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the part of a value of the shape `whole`."""
        kept = () if self.vanishes else (self.extent,)
        return (*whole[: self.axis], *kept, *whole[self.axis + 1 :])

    def long(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        """The same shape with an axis of 1 where it has vanished."""
        return (*whole[: self.axis], self.extent, *whole[self.axis + 1 :])

    def place(self, axis: int) -> int:
        """The number of another axis in the part."""
        return axis - (self.vanishes and axis > self.axis)

    def of(self, array: Array) -> Array:
        """The part of an array."""
        shape = array.shape
        split = array.reshape(
            *shape[: self.axis], self.before, self.count, self.after, *shape[self.axis + 1 :]
        )
        part: Array = split.take(self.index, axis=self.axis + 1).reshape(self.shape(shape))
        return part

    def at(self, axis: int) -> Block:
        """The same block of another axis."""
        return replace(self, axis=axis)

    def under(self, shape: tuple[int, ...], other: tuple[int, ...]) -> Block | None:
        """The block of a value of the shape `other` with the same elements in the same order.

        `shape` is that of the value this is a block of. None if they are no block of one axis.
        """
        lead = prod(shape[: self.axis]) * self.before
        behind = prod(shape[self.axis + 1 :]) * self.after
        for axis, extent in enumerate(other):
            outer, inner = prod(other[:axis]), prod(other[axis + 1 :])
            if lead % outer or behind % inner:
                continue
            before, after = lead // outer, behind // inner
            if before * self.count * after == extent:
                return Block(axis, before, self.count, after, self.index)
        return None


def places_of(block: Block, shape: tuple[int, ...]) -> Iterator[int]:
    """Yield the row-major places of the elements of a block."""
    inner = prod(shape[block.axis + 1 :])
    lines = prod(shape[: block.axis]) * block.before
    width = block.after * inner
    for line in range(lines):
        start = (line * block.count + block.index) * width
        yield from range(start, start + width)
