"""Values in memory: images lie as [H, W, C], everything else in PyTorch's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.backends.c.program import Buffer
from qbnnc.ir.types import Array, DType

CTYPES = {DType.U8: "uint8_t", DType.I32: "int32_t", DType.F32: "float"}
AXES = 6  # of a walk


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides, in elements, of PyTorch's order."""
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def stored(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a value in memory."""
    if len(shape) != 3:
        return row_major(shape)
    return 1, shape[2] * shape[0], shape[0]


def in_order(array: Array) -> Array:
    """The elements of a constant in the order in which it is stored."""
    return array.transpose(1, 2, 0) if array.ndim == 3 else array


def same_order(shape: Sequence[int], first: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two strides put the elements of a shape at the same places."""
    return all(a == b for n, a, b in zip(shape, first, other, strict=True) if n > 1)


@dataclass(frozen=True, slots=True)
class Held:
    """A value: the text of its address, in which "{}" is that of the buffer, and its strides.

    A vector may lie in the order of an `image` [C, H, W] that it was before. A call that takes the
    value declares the `local` variable that the text names.
    """

    text: str
    strides: tuple[int, ...]
    ctype: str
    buffer: Buffer | None = None
    image: tuple[int, ...] | None = None
    local: str = ""

    @property
    def in_buffer(self) -> bool:
        """Whether it is memory of its own, which may be written."""
        return self.buffer is not None and self.text == "{}"


@dataclass(frozen=True, slots=True)
class Walk:
    """Elements of two arrays side by side: sizes, and strides and start of each."""

    sizes: tuple[int, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]
    source_start: int = 0
    target_start: int = 0

    def fields(self) -> list[str]:
        """The fields of a `qb_walk`; ValueError if it has too many axes."""
        axes = self._merged()
        if len(axes) > AXES:
            raise ValueError(f"{len(axes)} axes")
        axes = [(1, 0, 0)] * (AXES - len(axes)) + axes
        columns = ["{" + ", ".join(map(str, column)) + "}" for column in zip(*axes, strict=True)]
        return [*columns, str(self.source_start), str(self.target_start)]

    def repeats(self) -> int | None:
        """The size of a source that the target takes again and again, element by element."""
        if self.source_start or self.target_start:
            return None
        axes = sorted(zip(self.sizes, self.source, self.target, strict=True), key=lambda a: a[2])
        count = size = 1
        for n, source, target in axes:
            if n == 1:
                continue
            if target != size or source not in (0, target) or (source and count != size):
                return None
            size *= n
            count *= n if source else 1
        return count

    def _merged(self) -> list[tuple[int, int, int]]:
        """Join neighbours that are one axis in both arrays."""
        axes = list[tuple[int, int, int]]()
        for size, a, b in zip(self.sizes, self.source, self.target, strict=True):
            if size == 1:
                continue
            if axes and axes[-1][1:] == (a * size, b * size):
                axes[-1] = axes[-1][0] * size, a, b
            else:
                axes.append((size, a, b))
        return axes


def runs(indices: Sequence[int]) -> list[tuple[int, int, int]]:
    """Split numbers into (first, step, count) of even steps, the longest first."""
    found, i = list[tuple[int, int, int]](), 0
    while i < len(indices):
        step = indices[i + 1] - indices[i] if i + 1 < len(indices) else 0
        count = 1
        while i + count < len(indices) and indices[i + count] - indices[i + count - 1] == step:
            count += 1
        found.append((indices[i], step, count))
        i += count
    return found


def broadcast_strides(
    shape: Sequence[int], own: Sequence[int], strides: Sequence[int]
) -> tuple[int, ...]:
    """Strides of a value of shape `own` that broadcasts to `shape`."""
    return tuple(0 if n == 1 and m > 1 else s for m, n, s in zip(shape, own, strides, strict=True))


def factors_of(m: Array, shape: Sequence[int]) -> tuple[Array, int, int]:
    """(factors, divisor, count): element i of a stored value takes factor (i / divisor) % count.

    `m` broadcasts against `shape`. In the worst case every element has a factor of its own.
    """
    full = np.broadcast_to(m.reshape((1,) * (len(shape) - m.ndim) + m.shape), shape)
    flat = in_order(full).reshape(-1)
    if m.size == 1:
        return m.reshape(-1), 1, 1
    varying = [axis for axis, n in enumerate(m.shape[-len(shape) :] if shape else ()) if n > 1]
    strides = stored(shape)
    ordered = sorted(varying, key=lambda axis: -strides[axis])
    divisor = strides[ordered[-1]]
    count = prod(shape[axis] for axis in ordered)
    factors = flat[::divisor][:count]
    expected = factors[np.arange(flat.size) // divisor % count]
    if not np.array_equal(expected, flat):
        return flat, 1, flat.size
    return factors, divisor, count
