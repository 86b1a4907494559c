"""The order of values in memory.

A value of shape [C, H, W] lies as [H, W, C]. A value of any other shape lies in row-major order.
Every value is a grid of `pixels` x `channels`; one that is no image has one pixel.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array

ALIGNMENT = 16  # bytes, of each element of a buffer
CHANNEL_BLOCK = 128  # output channels whose weights lie together in a depthwise convolution
CODES = 16  # quantised values of a vector
K_BLOCK = 4  # quantised values of K that one product takes


def round_up(number: int, step: int) -> int:
    """Return the least multiple of `step` that is at least `number`."""
    return -(-number // step) * step


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (pixels, channels) of a value."""
    return (shape[1] * shape[2], shape[0]) if len(shape) == 3 else (1, prod(shape))


def to_memory(array: Array, shape: tuple[int, ...]) -> Array:
    """Reorder [..., *shape] to [..., pixels, channels], the order of memory."""
    lead = array.shape[: array.ndim - len(shape)]
    if len(shape) == 3:
        array = np.moveaxis(array, -3, -1)
    return np.ascontiguousarray(array).reshape((*lead, *grid(shape)))


def from_memory(array: Array, shape: tuple[int, ...]) -> Array:
    """Reorder [..., size], in the order of memory, to [..., *shape]."""
    lead = array.shape[:-1]
    if len(shape) != 3:
        return array.reshape((*lead, *shape))
    channels, height, width = shape
    return np.moveaxis(array.reshape(*lead, height, width, channels), -1, -3)


def positions(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the place in memory of each element, counted in elements: [*shape]."""
    return from_memory(np.arange(prod(shape), dtype=np.int64), shape)


def same_order(shape: tuple[int, ...]) -> bool:
    """Tell whether the order of memory is row-major order."""
    return len(shape) != 3 or shape[0] == 1 or shape[1] * shape[2] == 1


def parameter(array: Array, shape: tuple[int, ...]) -> Array:
    """Broadcast a parameter to `shape`: [pixels, channels], or [1, channels] if pixels agree."""
    whole = to_memory(np.broadcast_to(array, shape), shape)
    return whole[:1] if (whole == whole[:1]).all() else whole


def broadcast_steps(
    operands: tuple[tuple[int, ...], ...], shape: tuple[int, ...]
) -> tuple[tuple[int, int, int], list[tuple[int, int, int]]] | None:
    """Return ((height, width, channels), the steps of each operand along them) of a broadcast.

    None if three steps cannot describe it: an operand has another rank, or some of more than 3 axes
    are broadcast.
    """
    if all(operand == shape for operand in operands):
        return (1, 1, prod(shape)), [(0, 0, 1)] * len(operands)
    if len(shape) > 3 or any(len(operand) != len(shape) for operand in operands):
        return None
    a, b, c = (1,) * (3 - len(shape)) + shape
    extents = (b, c, a) if len(shape) == 3 else (a, b, c)
    return extents, [_steps(operand) for operand in operands]


def _steps(operand: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the step in elements along (height, width, channels); it is 0 along an axis of 1."""
    steps, step = [0] * len(operand), 1
    for axis in (0, 2, 1) if len(operand) == 3 else range(len(operand) - 1, -1, -1):
        steps[axis] = step if operand[axis] > 1 else 0
        step *= operand[axis]
    p, q, r = [0] * (3 - len(operand)) + steps
    return (q, r, p) if len(operand) == 3 else (p, q, r)
