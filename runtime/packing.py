"""Constants of a program: one buffer of bytes, and the packed forms that kernels read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array
from qbnnc.runtime.layout import round_up

CHANNEL_STEP = 16  # output channels are padded to a multiple of this
BLOCK = 128  # output channels whose weights lie together; as in kernels.convolution
DEPTH_STEP = 4  # products at a time along K; as TILE in kernels.convolution
_ALIGNMENT = 64


class Constants:
    """Collects arrays; `add` returns the offset in bytes."""

    def __init__(self) -> None:
        self._parts: list[Array] = []
        self._size = 0

    def add(self, array: Array) -> int:
        """Keep a copy of `array`, row-major, aligned to 64 bytes."""
        offset, part = self._size, np.ascontiguousarray(array)
        self._parts.append(part.reshape(-1).view(np.uint8))
        self._size = round_up(offset + part.nbytes, _ALIGNMENT)
        return offset

    def pack(self) -> NDArray[np.uint8]:
        """All of them, with some room to read past the end."""
        packed, offset = aligned_bytes(self._size + _ALIGNMENT), 0
        packed[:] = 0
        for part in self._parts:
            packed[offset : offset + part.size] = part
            offset = round_up(offset + part.size, _ALIGNMENT)
        packed.flags.writeable = False
        return packed


def aligned_bytes(count: int) -> NDArray[np.uint8]:
    """`count` bytes, rounded up to 64, at an address that is a multiple of 64; not cleared."""
    count = round_up(count, _ALIGNMENT)
    room = np.empty(count + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + count]


def pack_weights(weight: NDArray[np.int8], groups: int) -> tuple[NDArray[np.int8], int]:
    """[O, C, kh, kw] as [groups][BLOCKs of channels][K][channels], and K padded.

    K runs over [kh][kw][C]. Zeros fill up K and the channels.
    """
    filters = weight.shape[0] // groups
    rows = np.moveaxis(weight, 1, -1).reshape(groups, filters, -1)
    depth, padded = round_up(rows.shape[2], DEPTH_STEP), round_up(filters, CHANNEL_STEP)
    whole = np.zeros((groups, depth, padded), np.int8)
    whole[:, : rows.shape[2], :filters] = rows.swapaxes(1, 2)
    starts = range(0, padded, BLOCK)
    blocks = [[g[:, n : n + BLOCK].reshape(-1) for n in starts] for g in whole]
    return np.concatenate([block for group in blocks for block in group]), depth


def per_channel(values: Array, channels: int, groups: int) -> Array:
    """One number, or one for each of all channels, as [groups][padded channels]."""
    padded = round_up(channels // groups, CHANNEL_STEP)
    whole = np.zeros((groups, padded), values.dtype)
    whole[:, : channels // groups] = np.broadcast_to(values, (channels,)).reshape(groups, -1)
    return whole


def folded_bias(
    weight: NDArray[np.int8], bias: NDArray[np.int32], weight_zero: Array, input_zero: int
) -> NDArray[np.int32]:
    """q_b + K Z_w Z_x - Z_x sum_k q_w, mod 2^32: docs/semantics.md, section 3."""
    rows = weight.reshape(len(weight), -1).astype(np.int64)
    constant = rows.shape[1] * weight_zero.astype(np.int64) * input_zero
    folded: NDArray[np.int32] = (bias + constant - input_zero * rows.sum(axis=1)).astype(np.int32)
    return folded
