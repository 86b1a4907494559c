"""What is known of values that hand-written normalisation computes: elements, and statistics.

A group is a set of elements of a base value x. Each fact says of which elements of x, or of which
group, every element of a value is made. So no spelling of axes, reshapes or broadcasts matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Value
from qbnnc.ir.ops import AveragePool2d, Move, Rearrangement

Index = NDArray[np.int64]
Float64 = NDArray[np.float64]


class Kind(Enum):
    """The number of a group, with m the mean square of its elements, centred or not."""

    MEAN = "mean"  # scale * mean
    SQUARED_MEAN = "squared mean"  # scale * mean^2
    MOMENT = "moment"  # max(scale * m + eps, floor)
    ROOT = "root"  # max(sqrt(scale * m + eps) + outer_eps, floor)
    INVERSE = "inverse"  # 1 / root


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """gain * (x - mean of its group), for element `source` of the base; no `gain` is 1.

    Without a `partition`, the group of each element of the base, nothing is subtracted. `moves` are
    the ops that bring the base's elements to this order. `squared` elements have no gain.
    """

    base: Value
    source: Index
    moves: tuple[Rearrangement, ...] = ()
    gain: Float64 | None = None
    partition: Index | None = None
    squared: bool = False

    @staticmethod
    def of(value: Value) -> Elements:
        """A value as its own base."""
        return Elements(value, np.arange(value.type.size).reshape(value.type.shape))

    @property
    def plain(self) -> bool:
        """Whether these are elements of the base and no more."""
        return self.gain is None and self.partition is None and not self.squared

    def moved(self, op: Rearrangement, shape: tuple[int, ...]) -> Elements | None:
        source = moved(op, self.source, shape)
        if source is None:
            return None
        gain = None if self.gain is None else moved_numbers(op, self.gain, shape)
        return replace(self, source=source, moves=(*self.moves, op), gain=gain)

    def scaled(self, factor: Float64) -> Elements | None:
        """The elements times a constant that broadcasts to their shape."""
        if self.squared:
            return None
        gain = np.broadcast_to(factor, self.source.shape)
        return replace(self, gain=gain if self.gain is None else self.gain * gain)

    def minus(self, mean: Statistic) -> Elements | None:
        """The elements minus the mean of their group, which has the scale -1."""
        if not self.plain or mean.kind is not Kind.MEAN or not _near(mean.scale, -1.0):
            return None
        return replace(self, partition=mean.partition) if mean.is_of(self) else None

    def times(self, other: Elements) -> Elements | None:
        """The squares of elements, from two equal factors."""
        same = (
            self.base is other.base
            and _same(self.partition, other.partition)
            and np.array_equal(self.source, other.source)
        )
        usable = self.gain is None and other.gain is None and not (self.squared or other.squared)
        return replace(self, squared=True) if same and usable else None

    def averaged(self, pool: AveragePool2d) -> Statistic | None:
        """The statistic of each window of a pool, if its windows part all elements of the base."""
        windows = _windows(pool, self.source.shape)
        if windows is None or self.gain is not None or self.source.size != self.base.type.size:
            return None
        partition = np.full(self.source.size, -1, np.int64)
        partition[self.source.reshape(-1)] = windows.reshape(-1)
        if (partition < 0).any():
            return None
        _, first, inverse = np.unique(partition, return_index=True, return_inverse=True)
        number = np.argsort(np.argsort(first))  # groups in the order of their first elements
        partition = number[inverse.reshape(-1)]
        if self.partition is not None and not (self.squared and _same(partition, self.partition)):
            return None
        height, width = (n // k for n, k in zip(self.source.shape[1:], pool.kernel, strict=True))
        group = number.reshape(self.source.shape[0], height, width)
        count = pool.kernel[0] * pool.kernel[1]
        scale = count / pool.divisors[0] if pool.divisors else 1.0
        kind = Kind.MOMENT if self.squared else Kind.MEAN
        return Statistic(
            self.base, partition, group, kind, scale, centred=self.partition is not None
        )


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """A number of each group; `group` [*shape] is the group of each element of the value."""

    base: Value
    partition: Index
    group: Index
    kind: Kind
    scale: float
    eps: float = 0.0
    outer_eps: float = 0.0
    floor: float = 0.0
    centred: bool = False

    def is_of(self, elements: Elements) -> bool:
        """Whether each element meets the number of its own group."""
        try:
            met = np.broadcast_to(self.group, elements.source.shape)
        except ValueError:
            return False
        same = self.base is elements.base
        return same and np.array_equal(self.partition[elements.source], met)

    def moved(self, op: Rearrangement, shape: tuple[int, ...]) -> Statistic | None:
        group = moved(op, self.group, shape)
        return None if group is None else replace(self, group=group)

    def affine(self, scale: float, shift: float) -> Statistic | None:
        """scale * number + shift."""
        match self.kind:
            case Kind.MEAN | Kind.SQUARED_MEAN if shift == 0:
                return replace(self, scale=self.scale * scale)
            case Kind.MOMENT if scale > 0 and self.floor == 0:
                return replace(self, scale=self.scale * scale, eps=self.eps * scale + shift)
            case Kind.ROOT if scale > 0 and self.floor == 0:
                root = self._times(scale)
                return replace(root, outer_eps=root.outer_eps + shift)
            case Kind.INVERSE if scale > 0 and shift == 0:
                return self._times(1 / scale)
        return None

    def at_least(self, bound: float) -> Statistic | None:
        if self.kind not in (Kind.MOMENT, Kind.ROOT):
            return None
        return replace(self, floor=max(self.floor, bound))

    def power(self, exponent: float) -> Statistic | None:
        match self.kind, exponent:
            case Kind.MEAN, 2.0:
                return replace(self, kind=Kind.SQUARED_MEAN, scale=self.scale**2)
            case Kind.MOMENT, 0.5:
                return replace(self, kind=Kind.ROOT, floor=sqrt(max(self.floor, 0.0)))
            case Kind.MOMENT, -0.5:
                return replace(self, kind=Kind.INVERSE, floor=sqrt(max(self.floor, 0.0)))
            case Kind.ROOT, -1.0:
                return replace(self, kind=Kind.INVERSE)
        return None

    def plus(self, other: Statistic) -> Statistic | None:
        """The variance, as the mean of squares minus the square of the mean."""
        fits = (
            (self.kind, other.kind) == (Kind.MOMENT, Kind.SQUARED_MEAN)
            and not self.centred
            and self.floor == 0
            and _near(other.scale, -self.scale)
            and self.base is other.base
            and _same(self.partition, other.partition)
            and np.array_equal(self.group, other.group)
        )
        return replace(self, centred=True) if fits else None

    def _times(self, factor: float) -> Statistic:
        """The root, or what the inverse is of, times a positive factor."""
        return replace(
            self,
            scale=self.scale * factor**2,
            eps=self.eps * factor**2,
            outer_eps=self.outer_eps * factor,
            floor=self.floor * factor,
        )


Fact: TypeAlias = Elements | Statistic


def moved(op: Rearrangement, index: Index, shape: tuple[int, ...]) -> Index | None:
    """The index as a rearrangement leaves it; None if it makes zeros."""
    if not isinstance(op, Move):
        return index.reshape(shape)
    source = op.source_of(index.shape)
    return None if (source < 0).any() else index.reshape(-1)[source]


def moved_numbers(op: Rearrangement, numbers: Float64, shape: tuple[int, ...]) -> Float64:
    """Numbers as a rearrangement that makes no zeros leaves them."""
    if not isinstance(op, Move):
        return numbers.reshape(shape)
    found: Float64 = numbers.reshape(-1)[op.source_of(numbers.shape)]
    return found


def _windows(pool: AveragePool2d, shape: tuple[int, ...]) -> Index | None:
    """The number of the window of each place; None unless every place is in one window."""
    tiles = pool.stride == pool.kernel and not any(pool.padding) and pool.dilation == (1, 1)
    height, width = pool.kernel
    if not tiles or shape[1] % height or shape[2] % width or len(pool.divisors) > 1:
        return None
    counts = shape[0], shape[1] // height, shape[2] // width
    ids = np.arange(np.prod(counts)).reshape(counts)
    return ids.repeat(height, axis=1).repeat(width, axis=2)


def _same(a: Index | None, b: Index | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * abs(b)
