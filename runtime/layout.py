"""How values and constants lie in memory.

A value of shape [C, H, W] lies as [H, W, C]; one of any other shape in row-major order. Every
value is a grid of `pixels` x `channels`; what is not an image is one pixel.
"""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.ir.types import Array

ALIGNMENT = 16  # bytes, of each element of a buffer


def round_up(number: int, step: int) -> int:
    """The least multiple of `step` that is at least `number`."""
    return -(-number // step) * step


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """(pixels, channels) of a value."""
    return (shape[1] * shape[2], shape[0]) if len(shape) == 3 else (1, prod(shape))


def to_memory(array: Array, shape: tuple[int, ...]) -> Array:
    """[..., *shape] to [..., pixels, channels] in the order of memory."""
    lead = array.shape[: array.ndim - len(shape)]
    if len(shape) == 3:
        array = np.moveaxis(array, -3, -1)
    return np.ascontiguousarray(array).reshape(*lead, *grid(shape))


def from_memory(array: Array, shape: tuple[int, ...]) -> Array:
    """[..., size] in the order of memory to [..., *shape]."""
    lead = array.shape[:-1]
    if len(shape) != 3:
        return array.reshape(*lead, *shape)
    channels, height, width = shape
    return np.moveaxis(array.reshape(*lead, height, width, channels), -1, -3)


def same_order(shape: tuple[int, ...]) -> bool:
    """Whether the order of memory is row-major order."""
    return len(shape) != 3 or shape[0] == 1 or shape[1] * shape[2] == 1


def parameter(array: Array, shape: tuple[int, ...]) -> Array:
    """A parameter that broadcasts to `shape`, as [pixels, channels], or [1, channels] if it can."""
    whole = to_memory(np.broadcast_to(array, shape), shape)
    return whole[:1] if (whole == whole[:1]).all() else whole


def mask_steps(
    mask: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """((height, width, channels), the mask's step along each) for a mask that broadcasts.

    None if three steps cannot say it: a mask of another rank, or of some of more than 3 axes.
    """
    size = prod(shape)
    if mask == shape:
        return (1, 1, size), (0, 0, 1)
    if len(shape) > 3 or len(mask) != len(shape):
        return None
    steps, step = [0] * len(mask), 1
    for axis in (0, 2, 1) if len(mask) == 3 else range(len(mask) - 1, -1, -1):
        steps[axis] = step if mask[axis] > 1 else 0
        step *= mask[axis]
    missing = 3 - len(shape)
    a, b, c = (1,) * missing + shape
    p, q, r = [0] * missing + steps
    return ((b, c, a), (q, r, p)) if len(shape) == 3 else ((a, b, c), (p, q, r))
