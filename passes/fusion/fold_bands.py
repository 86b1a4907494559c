"""Scale and shift of each band of an image, folded into the convolution that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd, prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Node, Value
from qbnnc.ir.ops import Conv2d, Gather, Op, Pad, Reshape, Transpose
from qbnnc.passes.fusion.affine_values import Scaling
from qbnnc.passes.parameters import constant, float32_constant
from qbnnc.support import limits

Float64 = NDArray[np.float64]

_IMAGE = 3  # axes: channels, rows, columns
_MOST_GROWTH = 2  # times as many rows may be read as there are


@dataclass(frozen=True, slots=True)
class Bands:
    """Equal bands of a convolution's output: `count` bands of `extent` rows, or columns (axis 2).

    A band reads `reach` rows of the padded input, and `step` rows later the next one begins.
    """

    axis: int
    count: int
    extent: int
    reach: int
    step: int

    @property
    def indices(self) -> tuple[int, ...]:
        """The rows of the padded input that each band reads, one band after the other."""
        return tuple(i * self.step + j for i in range(self.count) for j in range(self.reach))


def bands_of(layer: Node, scaling: Scaling) -> Bands | None:
    """The bands with scales of their own that a convolution's output has; None if it has none.

    The scaling is the same within a band, and varies along channels at most besides. Together the
    bands read at most twice the rows there are, and have no more weights than the output elements.
    """
    op, axes = layer.op, set(scaling.axes) - {0}
    if not isinstance(op, Conv2d) or len(scaling.shape) != _IMAGE or len(axes) != 1:
        return None
    (axis,) = axes
    if scaling.scale.shape[axis] == 1:
        return None
    x, weight, _ = layer.inputs
    stride, dilation = op.stride[axis - 1], op.dilation[axis - 1]
    count = _fewest(scaling, axis)
    extent = scaling.shape[axis] // count
    reach = (extent - 1) * stride + (weight.type.shape[axis + 1] - 1) * dilation + 1
    length = x.type.shape[axis] + op.padding[axis - 1] + op.padding[axis + 1]
    read = x.type.size // x.type.shape[axis] * count * reach
    fits = (
        count * reach <= _MOST_GROWTH * length
        and count * weight.type.size <= layer.output.type.size
        and count * op.groups <= limits.GROUPS.most
        and read <= limits.PADDED.most
    )
    return Bands(axis, count, extent, reach, extent * stride) if fits else None


def take_bands(layer: Node, scaling: Scaling, build: Builder) -> Value:
    """The convolution with the scaling of its output's bands in weight and bias.

    The bands become channels, so that each group is as many groups as there are bands. These have
    the same weight but for its scale.
    """
    op, bands, moves = layer.op, bands_of(layer, scaling), _Moves(layer, build)
    assert isinstance(op, Conv2d)
    assert bands is not None
    first, groups = bands.axis - 1, op.groups
    along = [n if i % 2 == first else 0 for i, n in enumerate(op.padding)]
    across = [n if i % 2 != first else 0 for i, n in enumerate(op.padding)]
    x = layer.inputs[0]
    if any(along):
        x = moves.emit(Pad(_four(along)), x)
    x = moves.emit(Gather(bands.axis, bands.indices), x)
    x = moves.to_groups(x, groups, bands)
    wide = replace(op, padding=_four(across), groups=groups * bands.count)
    parameters = _parameters(layer, groups, bands, scaling, build)
    y = build.emit(wide, x, *parameters, loc=layer.loc, name=layer.output.name)
    return moves.from_groups(y, groups, bands)


def _four(numbers: Sequence[int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = numbers
    return top, left, bottom, right


def _fewest(scaling: Scaling, axis: int) -> int:
    """The least number of equal bands along an axis within which all is the same."""
    length = scaling.shape[axis]
    pair = [np.moveaxis(a, axis, 0) for a in (scaling.scale, scaling.shift)]
    edges = [i for a in pair for i in range(1, len(a)) if (a[i] != a[i - 1]).any()]
    extent = gcd(length, *edges)
    return length // extent


def _parameters(
    layer: Node, groups: int, bands: Bands, scaling: Scaling, build: Builder
) -> tuple[Value, Value]:
    """Weight and bias of the groups of each group's bands."""
    _, weight, bias = layer.inputs
    w, b = (constant(v, build, layer.loc) for v in (weight, bias))
    scale, shift = (_by_group(a, groups, bands) for a in scaling.full)
    split = (groups, 1, len(b) // groups)
    wide = w.reshape(*split, *w.shape[1:]) * scale[..., None, None, None]
    moved = b.reshape(split) * scale + shift
    return (
        float32_constant(weight.name, wide.reshape(-1, *w.shape[1:]), build),
        float32_constant(bias.name, moved.reshape(-1), build),
    )


def _by_group(full: Float64, groups: int, bands: Bands) -> Float64:
    """Numbers of all elements [O, H, W] as one a group, band and channel: [G, B, O/G]."""
    first = np.moveaxis(full, bands.axis, 1)[:, :: bands.extent, 0]
    return first.reshape(groups, -1, bands.count).swapaxes(1, 2)


@dataclass(frozen=True, slots=True)
class _Moves:
    """Moves of elements before and after a convolution."""

    layer: Node
    build: Builder

    def to_groups(self, x: Value, groups: int, bands: Bands) -> Value:
        """[C, H, W], with bands along an axis, as [G*B*C/G, ...]: B bands in each group."""
        channels, *size = x.type.shape
        inner = 1 if bands.axis == 1 else size[0]
        size[bands.axis - 1] = bands.reach
        split = (groups, channels // groups, inner, bands.count, prod(size) // inner)
        x = self.transposed(x, split, (0, 3, 1, 2, 4))
        return self.emit(Reshape((channels * bands.count, *size)), x)

    def from_groups(self, y: Value, groups: int, bands: Bands) -> Value:
        """The same backwards: [G*B*O/G, ...] as [O, H, W]."""
        channels, *size = y.type.shape
        channels //= bands.count
        inner = 1 if bands.axis == 1 else size[0]
        split = (groups, bands.count, channels // groups, inner, prod(size) // inner)
        y = self.transposed(y, split, (0, 2, 3, 1, 4))
        size[bands.axis - 1] *= bands.count
        return self.emit(Reshape((channels, *size)), y)

    def transposed(self, x: Value, split: tuple[int, ...], order: tuple[int, ...]) -> Value:
        """Five axes in another order; as they are where this moves nothing."""
        long = [axis for axis in order if split[axis] > 1]
        if long == sorted(long):
            return x
        return self.emit(Transpose(order), self.emit(Reshape(split), x))

    def emit(self, op: Op, x: Value) -> Value:
        name = f"{self.layer.output.name}.{op.name}"
        return self.build.emit(op, x, loc=self.layer.loc, name=name)
