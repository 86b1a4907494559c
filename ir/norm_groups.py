"""The groups of a normalisation in memory, where images lie as [H, W, C].

Group (i, j) of outer x inner begins at element i * outer_step + j * inner_step. Its `count`
elements are `step` apart. Any other value lies in row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.ir.types import Array


@dataclass(frozen=True, slots=True)
class Groups:
    """Where the elements of each group are, counted in elements."""

    outer: int
    inner: int
    count: int
    outer_step: int
    inner_step: int
    step: int

    @classmethod
    def of(cls, shape: tuple[int, ...], axes: int) -> Groups:
        """The groups of a value, each of which takes its last `axes` axes."""
        count = prod(shape[len(shape) - axes :])
        if len(shape) != 3 or axes == 3:
            return cls(1, prod(shape) // count, count, 0, count, 1)
        channels, height, width = shape
        if axes == 2:
            return cls(1, channels, count, 0, 1, channels)
        return cls(height, channels, count, width * channels, 1, channels)


@dataclass(frozen=True, slots=True, eq=False)
class GroupParameters:
    """Weight and bias of a normalisation, f32, without what repeats.

    Element e of group (i, j) has number i * outer_step + j * inner_step + e // run of both.
    """

    weight: Array
    bias: Array
    outer_step: int
    inner_step: int
    run: int

    @classmethod
    def of(cls, weight: Array, bias: Array, shape: tuple[int, ...], axes: int) -> GroupParameters:
        """The numbers of a value of this shape, to which weight and bias broadcast."""
        both = np.stack([_grouped(np.broadcast_to(a, shape), axes) for a in (weight, bias)])
        for axis in (1, 2):
            first = both.take([0], axis=axis)
            both = first if (both == first).all() else both
        run = _run(both)
        both = np.ascontiguousarray(both[..., ::run])
        _, outer, inner, count = both.shape
        flat = both.reshape(2, -1)
        return cls(flat[0], flat[1], inner * count * (outer > 1), count * (inner > 1), run)


def _grouped(whole: Array, axes: int) -> Array:
    """Elements [outer, inner, count] in the order of memory."""
    groups = Groups.of(whole.shape, axes)
    if whole.ndim == 3:
        whole = np.moveaxis(whole, 0, -1) if axes == 3 else np.moveaxis(whole, 0, 2 - axes)
    return whole.reshape(groups.outer, groups.inner, groups.count)


def _run(numbers: Array) -> int:
    """The greatest number of neighbours along the last axis that are always equal."""
    rows = numbers.reshape(-1, numbers.shape[-1])
    breaks = np.flatnonzero((rows[:, 1:] != rows[:, :-1]).any(axis=0)) + 1
    return int(np.gcd.reduce(np.append(breaks, rows.shape[1])))
