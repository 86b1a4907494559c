"""Constants of a program: one buffer of bytes, and the packed forms that kernels read."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array
from qbnnc.ir.weights import channel_sums
from qbnnc.runtime.layout import round_up, to_memory

LINE = 128  # output channels whose weights lie together where channels are by themselves
PANEL = 16  # output channels of a panel: two vectors of accumulators
CODES = 16  # that are looked at together, one by one
FOURS = 4  # codes of K that are multiplied at a time
_ALIGNMENT = 64


class Constants:
    """Collects arrays, equal ones once; `add` returns the offset in bytes.

    `asked` counts the bytes of all that were added, as if none were equal.
    """

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._known = dict[bytes, int]()
        self._size, self.asked = 0, 0

    def add(self, array: Array) -> int:
        """Keep a copy of `array`, row-major, aligned to 64 bytes."""
        part = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        room = round_up(part.nbytes, _ALIGNMENT)
        self.asked += room
        offset = self._known.setdefault(sha256(part.data).digest(), self._size)
        if offset == self._size and room:
            self._parts.append(part)
            self._size += room
        return offset

    def pack(self) -> NDArray[np.uint8]:
        """All of them, with some room to read past the end; once: each part is given up.

        So they are never in memory twice: a page of the room is there when it is written to.
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
    """`count` bytes, rounded up to 64, at an address that is a multiple of 64; not cleared."""
    count = round_up(count, _ALIGNMENT)
    room = np.empty(count + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + count]


@dataclass(frozen=True, slots=True)
class Layout:
    """[groups][blocks of channels][lines][channels][step]: how kernels read a weight, or make one.

    Of a weight [O, K] or [O, C, kh, kw] (K runs over [kh][kw][C]), a bias [O] (K is 1), or with
    `plain` any value in the order of memory. K is `lines` x `step`: one a line, or with `run`, the
    codes of a layer's operand that lie side by side, FOURS, each run filled up to a multiple of
    `steps` of them.
    """

    shape: tuple[int, ...]
    groups: int = 1
    plain: bool = False
    run: int = 0
    steps: int = 1

    def rows(self, array: Array) -> Array:
        """[*shape] as [groups, filters, K]."""
        if self.plain:
            return to_memory(array, self.shape).reshape(1, -1, 1)
        moved = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
        return moved.reshape(self.groups, self.filters, -1)

    @property
    def filters(self) -> int:
        """Channels of a group."""
        return prod(self.shape) if self.plain else self.shape[0] // self.groups

    @property
    def padded(self) -> int:
        """The same, padded."""
        return round_up(self.filters, PANEL // 2)

    @property
    def block(self) -> int:
        """Channels of a block; the last may have fewer."""
        return PANEL if self.run else LINE

    @property
    def step(self) -> int:
        return FOURS if self.run else 1

    @property
    def taps(self) -> int:
        """K."""
        return 1 if self.plain else prod(self.shape[1:])

    @property
    def depth(self) -> int:
        """K padded."""
        return self.taps if not self.run else self.taps // self.run * self.fours * FOURS

    def order_of_taps(self) -> NDArray[np.int64]:
        """Which of K is at each place of a channel; -1 is padding."""
        taps = np.arange(self.taps)
        if not self.run:
            return taps
        runs, missing = taps.reshape(-1, self.run), self.fours * FOURS - self.run
        return np.pad(runs, ((0, 0), (0, missing)), constant_values=-1).reshape(-1)

    @property
    def fours(self) -> int:
        """Of a run."""
        return round_up(self.run, self.steps * FOURS) // FOURS

    @property
    def size(self) -> int:
        """Elements with the padding."""
        return self.groups * self.padded * self.depth

    def pack(self, rows: Array, fill: int = 0) -> Array:
        """[groups, filters, K] in this layout: [size]."""
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
        """Rows [channels, K] into a block [at least as many, depth], with the padding of runs."""
        if not self.run:
            block[: len(rows)] = rows
            return
        runs = block[: len(rows)].reshape(len(rows), -1, self.fours * FOURS)
        runs[..., : self.run] = rows.reshape(len(rows), -1, self.run)

    def lanes(self, rows: Array) -> Array:
        """Rows [channels, K] as they meet in int16: [channels, turns, steps, 2, 2]."""
        block = np.zeros((len(rows), self.depth), rows.dtype)
        self._fill(block, rows)
        return block.reshape(len(rows), -1, self.steps, FOURS // 2, 2)

    def pack_channels(self, rows: Array, fill: int = 0) -> Array:
        """[groups, filters] as [groups][padded channels]."""
        whole = np.full((self.groups, self.padded), fill, rows.dtype)
        whole[:, : self.filters] = rows
        return whole

    def repeat_channels(self, rows: Array, fill: int = 0) -> Array:
        """[groups, filters] as [groups][padded channels][step]: as the channels of a line lie."""
        return np.repeat(self.pack_channels(rows, fill).reshape(-1), self.step)

    def order(self) -> NDArray[np.int64]:
        """Where in this layout each element of [*shape] lies, in row-major order."""
        numbers = np.arange(prod(self.shape), dtype=np.int64).reshape(self.shape)
        packed = self.pack(self.rows(numbers), -1)
        order = np.empty(numbers.size, np.int64)
        order[packed[packed >= 0]] = np.flatnonzero(packed >= 0)
        return order


def per_channel(values: Array, layout: Layout) -> Array:
    """One number, or one for each of all channels, as [groups][padded channels]."""
    channels = layout.groups * layout.filters
    return layout.pack_channels(np.broadcast_to(values, (channels,)).reshape(layout.groups, -1))


def offline_terms(
    shape: tuple[int, ...], weight: Array | None, weight_zero: Array, input_zero: int
) -> NDArray[np.int32]:
    """K Z_w Z_x - Z_x sum_k q_w for each channel, mod 2^32: docs/semantics.md, section 3.

    Without the second term if the weight is None, that is, not constant: it counts as 0.
    """
    codes = np.broadcast_to(np.int8(0), shape) if weight is None else weight
    return channel_sums(codes, weight_zero).offline_terms(input_zero)
