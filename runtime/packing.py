"""Constants of a program: one buffer of bytes, with weights in the layout that kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array
from qbnnc.ir.weights import channel_sums
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.layout import CHANNEL_BLOCK, K_BLOCK, round_up, to_memory

Indices: TypeAlias = NDArray[np.int32]

_ALIGNMENT = 64
PANEL, *_, NARROW = chosen().panels  # output channels of the widest and the narrowest panel


class Constants:
    """A collection of arrays that keeps equal ones once.

    `asked` counts the bytes of all arrays that were added, as if none were equal.
    """

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._known = dict[bytes, int]()
        self._size, self.asked = 0, 0

    def add(self, array: Array) -> int:
        """Keep `array`, row-major and aligned to 64 bytes; return its offset in bytes."""
        part = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        size = round_up(part.nbytes, _ALIGNMENT)
        self.asked += size
        offset = self._known.setdefault(sha256(part.data).digest(), self._size)
        if offset == self._size and size:
            self._parts.append(part)
            self._size += size
        return offset

    def pack(self) -> NDArray[np.uint8]:
        """Return all arrays as one, with space to read past the end; call this once.

        Each part is released when it is copied. So the arrays are never in memory twice: the system
        provides a page of the result when it is written to.
        """
        packed, offset = aligned_bytes(self._size + _ALIGNMENT), 0
        for number, part in enumerate(self._parts):
            end = round_up(offset + part.size, _ALIGNMENT)
            packed[offset : offset + part.size] = part
            packed[offset + part.size : end] = 0
            self._parts[number], offset = packed[:0], end
        packed[offset:] = 0
        packed.flags.writeable = False
        return packed


def aligned_bytes(count: int) -> NDArray[np.uint8]:
    """Allocate `count` bytes, rounded up to 64, at a multiple of 64; they are not cleared."""
    count = round_up(count, _ALIGNMENT)
    memory = np.empty(count + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + count]


@dataclass(frozen=True, slots=True)
class Layout:
    """The order in which kernels read a weight: [groups][channel blocks][lines][channels][step].

    A weight has the shape [O, K] or [O, C, kh, kw]: then K runs over [kh][kw][C]. A bias [O] has a
    K of 1.
    With `plain` the value is of any shape, in the order of memory.

    A line has `step` of the K elements for each channel of a block. Without `run`, `step` is 1.
    With `run`, `step` is K_BLOCK: `run` elements of K lie side by side in a layer's operand, and
    padding fills them up to a multiple of `steps` k-blocks.
    """

    shape: tuple[int, ...]
    groups: int = 1
    plain: bool = False
    run: int = 0
    steps: int = 1

    def rows(self, array: Array) -> Array:
        """Reshape [*shape] to [groups, filters, K]."""
        if self.plain:
            return to_memory(array, self.shape).reshape(1, -1, 1)
        moved = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
        return moved.reshape(self.groups, self.filters, -1)

    @property
    def filters(self) -> int:
        """The output channels of a group."""
        return prod(self.shape) if self.plain else self.shape[0] // self.groups

    @property
    def padded(self) -> int:
        """The output channels of a group, padded to whole vectors."""
        return round_up(self.filters, NARROW)

    @property
    def block(self) -> int:
        """The channels of a block; the last block may have fewer."""
        return PANEL if self.run else CHANNEL_BLOCK

    @property
    def step(self) -> int:
        """The elements of K of a line, for each channel."""
        return K_BLOCK if self.run else 1

    @property
    def taps(self) -> int:
        """The number K of elements of a channel, without padding."""
        return 1 if self.plain else prod(self.shape[1:])

    @property
    def depth(self) -> int:
        """The number K of elements of a channel, with padding."""
        return self.taps if not self.run else self.taps // self.run * self.k_blocks * K_BLOCK

    def order_of_taps(self) -> NDArray[np.int64]:
        """Return the element of K at each place of a channel; -1 is padding."""
        taps = np.arange(self.taps)
        if not self.run:
            return taps
        runs, missing = taps.reshape(-1, self.run), self.k_blocks * K_BLOCK - self.run
        return np.pad(runs, ((0, 0), (0, missing)), constant_values=-1).reshape(-1)

    @property
    def k_blocks(self) -> int:
        """The k-blocks of a run."""
        return round_up(self.run, self.steps * K_BLOCK) // K_BLOCK

    @property
    def size(self) -> int:
        """The number of elements with padding."""
        return self.groups * self.padded * self.depth

    def pack(self, rows: Array, fill: int = 0) -> Array:
        """Pack [groups, filters, K] in this layout: [size]."""
        packed, start = np.empty(self.size, rows.dtype), 0
        for group in rows:
            for first in range(0, self.padded, self.block):
                width = min(self.block, self.padded - first)
                lines = packed[start : start + width * self.depth].reshape(-1, width, self.step)
                block = np.full((width, self.depth), fill, rows.dtype)
                self._fill(block, group[first : first + width])
                lines[:] = block.reshape(width, -1, self.step).swapaxes(0, 1)
                start += block.size
        return packed

    def _fill(self, block: Array, rows: Array) -> None:
        """Copy [channels, K] into a block [channels or more, depth], with the padding of runs."""
        if not self.run:
            block[: len(rows)] = rows
            return
        runs = block[: len(rows)].reshape(len(rows), -1, self.k_blocks * K_BLOCK)
        runs[..., : self.run] = rows.reshape(len(rows), -1, self.run)

    def lanes(self, rows: Array) -> Array:
        """Arrange [channels, K] as products meet in int16 lanes.

        Returns [channels, turns, steps, lanes, pair].
        """
        block = np.zeros((len(rows), self.depth), rows.dtype)
        self._fill(block, rows)
        return block.reshape(len(rows), -1, self.steps, K_BLOCK // 2, 2)

    def pack_channels(self, rows: Array, fill: int = 0) -> Array:
        """Pack [groups, filters] as [groups][padded channels]."""
        whole = np.full((self.groups, self.padded), fill, rows.dtype)
        whole[:, : self.filters] = rows
        return whole

    def repeat_channels(self, rows: Array, fill: int = 0) -> Array:
        """Pack [groups, filters] as [groups][padded channels][step], in the order of a line."""
        return np.repeat(self.pack_channels(rows, fill).reshape(-1), self.step)

    def split_places(self, places: NDArray[np.int32]) -> tuple[Indices, Indices] | None:
        """Split places [groups, filters, K] into rows [depth] + columns [groups, filters].

        -1 in `rows` is padding. None if no sum of a part for K and one for the channel is a place.
        """
        rows = places[0, 0] - places[0, 0].min()
        columns = places[:, :, 0] - rows[0]
        if not (places == rows + columns[..., None]).all():
            return None
        order = self.order_of_taps()
        return np.where(order < 0, -1, rows[order]).astype(np.int32), columns

    def order(self) -> NDArray[np.int64]:
        """Return the place in this layout of each element of [*shape], in row-major order."""
        numbers = np.arange(prod(self.shape), dtype=np.int64).reshape(self.shape)
        packed = self.pack(self.rows(numbers), -1)
        order = np.empty(numbers.size, np.int64)
        order[packed[packed >= 0]] = np.flatnonzero(packed >= 0)
        return order


def per_channel(values: Array, layout: Layout) -> Array:
    """Pack one number, or one for each channel, as [groups][padded channels]."""
    channels = layout.groups * layout.filters
    return layout.pack_channels(np.broadcast_to(values, (channels,)).reshape(layout.groups, -1))


def offline_terms(
    shape: tuple[int, ...], weight: Array | None, weight_zero: Array, input_zero: int
) -> NDArray[np.int32]:
    """Compute K Z_w Z_x - Z_x sum_k q_w for each channel, mod 2^32.

    The second term is left out if the weight is None, which means that it is not constant.
    Source: docs/semantics.md, section 3.
    """
    codes = np.broadcast_to(np.int8(0), shape) if weight is None else weight
    return channel_sums(codes, weight_zero).offline_terms(input_zero)
