"""Ops that move elements and change none. Whatever is new is zero, or the code of zero."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.ops.base import (
    EVERY_STAGE,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_axis,
    expect_count,
    union,
)
from qbnnc.ir.ops.linear import padded_extents
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.support import limits

Index = NDArray[np.int64]


def _expect_one_scale(type: TensorType) -> None:
    if type.quant is not None and type.quant.axis is not None:
        raise ValueError(f"{type} has a scale for each channel, which would lose its place")


def _expect_image(shape: tuple[int, ...]) -> None:
    if len(shape) < 2:
        raise ValueError(f"takes images, not {list(shape)}")


class Rearrangement(DeterministicOp):
    """Every element of the result is an element of x, or a new zero (the zero point of codes)."""

    __slots__ = ()
    stages = EVERY_STAGE
    keeps_codes = commutes_with_clamp = commutes_with_factor = True


@dataclass(frozen=True, slots=True)
class Reshape(Rearrangement):
    """The same elements in row-major order under another shape (without the batch)."""

    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        _expect_one_scale(inputs[0])
        limits.check_shape(self.shape)
        if prod(self.shape) != inputs[0].size:
            raise ValueError(f"cannot reshape {inputs[0]} to {list(self.shape)}")
        return replace(inputs[0], shape=self.shape)

    def evaluate(self, *inputs: Tensor) -> Array:
        x = inputs[0].data
        return x.reshape(*x.shape[:2], *self.shape)


class Move(Rearrangement):
    """A rearrangement that says by number where each element comes from."""

    __slots__ = ()

    @abstractmethod
    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The result's shape from that of x; ValueError if the move does not fit it."""

    @abstractmethod
    def source(self, index: Index) -> Index:
        """The number of the element that each one comes from; `index` numbers x in row-major order.

        The result has the shape of the output; -1 stands for a new zero.
        """

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        _expect_one_scale(inputs[0])
        return replace(inputs[0], shape=self.shape_of(inputs[0].shape))

    def source_of(self, shape: tuple[int, ...]) -> Index:
        """`source` for an input of this shape."""
        return self.source(np.arange(prod(shape), dtype=np.int64).reshape(shape))

    def evaluate(self, *inputs: Tensor) -> Array:
        x, type_ = inputs[0].data, inputs[0].type
        source = self.source_of(type_.shape)
        taken: Array = x.reshape(*x.shape[:2], type_.size)[..., source.reshape(-1)]
        taken = taken.reshape(*x.shape[:2], *source.shape)
        is_codes = type_.dtype is not DType.F32 and type_.quant is not None
        zero = codes_of(type_).per_tensor[1] if is_codes else 0
        return np.where(source < 0, x.dtype.type(zero), taken)


@dataclass(frozen=True, slots=True)
class Transpose(Move):
    """Axes in another order: axis i of the result is axis permutation[i] of x."""

    permutation: tuple[int, ...]

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(self.permutation) != list(range(len(shape))):
            raise ValueError(f"{list(self.permutation)} is no order of {len(shape)} axes")
        return tuple(shape[axis] for axis in self.permutation)

    def source(self, index: Index) -> Index:
        return index.transpose(self.permutation)


@dataclass(frozen=True, slots=True)
class Slice(Move):
    """x[..., start:stop:step, ...] along one axis; step is 1 or more."""

    axis: int
    start: int
    stop: int
    step: int = 1

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not 0 <= self.axis < len(shape) or self.step < 1:
            raise ValueError(f"cannot slice axis {self.axis} of {list(shape)} by {self.step}")
        taken = range(*slice(self.start, self.stop, self.step).indices(shape[self.axis]))
        if not taken:
            raise ValueError(f"nothing is left of {list(shape)}")
        return (*shape[: self.axis], len(taken), *shape[self.axis + 1 :])

    def source(self, index: Index) -> Index:
        taken = [slice(None)] * index.ndim
        taken[self.axis] = slice(self.start, self.stop, self.step)
        return index[tuple(taken)]


@dataclass(frozen=True, slots=True)
class Pad(Move):
    """Zeros around the last two axes; padding is (top, left, bottom, right)."""

    adds_zeros = True
    padding: tuple[int, int, int, int]

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        _expect_image(shape)
        return (*shape[:-2], *padded_extents(shape, self.padding))

    def source(self, index: Index) -> Index:
        top, left, bottom, right = self.padding
        widths = [(0, 0)] * (index.ndim - 2) + [(top, bottom), (left, right)]
        return np.pad(index, widths, constant_values=-1)


@dataclass(frozen=True, slots=True)
class InsertZeros(Move):
    """stride - 1 zeros between neighbours of the last two axes: what a transposed convolution does.

    A transposed convolution is this, a Pad, and a convolution with the flipped weight.
    """

    adds_zeros = True
    stride: tuple[int, int]

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        _expect_image(shape)
        for stride in self.stride:
            limits.FACTOR.check(stride)
        spread = ((n - 1) * s + 1 for n, s in zip(shape[-2:], self.stride, strict=True))
        return (*shape[:-2], *spread)

    def source(self, index: Index) -> Index:
        spread = np.full(self.shape_of(index.shape), -1, np.int64)
        spread[..., :: self.stride[0], :: self.stride[1]] = index
        return spread


@dataclass(frozen=True, slots=True)
class UpsampleNearest(Move):
    """Every element of the last two axes repeated: nearest-neighbour resize by whole factors."""

    factors: tuple[int, int]

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        _expect_image(shape)
        for factor in self.factors:
            limits.FACTOR.check(factor)
        return (*shape[:-2], shape[-2] * self.factors[0], shape[-1] * self.factors[1])

    def source(self, index: Index) -> Index:
        return index.repeat(self.factors[0], axis=-2).repeat(self.factors[1], axis=-1)


@dataclass(frozen=True, slots=True)
class Gather(Move):
    """Element i along the axis is element indices[i] of x: repeats, reorders and leaves out."""

    axis: int
    indices: tuple[int, ...]

    def shape_of(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not 0 <= self.axis < len(shape) or not self.indices:
            raise ValueError(f"cannot take {len(self.indices)} elements along axis {self.axis}")
        if not 0 <= min(self.indices) <= max(self.indices) < shape[self.axis]:
            raise ValueError(f"takes elements that axis {self.axis} of {list(shape)} does not have")
        return (*shape[: self.axis], len(self.indices), *shape[self.axis + 1 :])

    def source(self, index: Index) -> Index:
        return index.take(self.indices, axis=self.axis)

    def evaluate(self, *inputs: Tensor) -> Array:
        return inputs[0].data.take(self.indices, axis=self.axis + 2)


@dataclass(frozen=True, slots=True)
class Concat(DeterministicOp):
    """The inputs one after the other along an axis of the shape; codes must share their scale."""

    stages = EVERY_STAGE
    keeps_codes = True
    axis: int

    def infer(self, *inputs: TensorType) -> TensorType:
        if not inputs:
            raise ValueError("has nothing to join")
        first = inputs[0]
        expect_axis(first, self.axis)
        others = {(*t.shape[: self.axis], -1, *t.shape[self.axis + 1 :]) for t in inputs}
        if len(others) != 1:
            raise ValueError(f"the shapes do not fit: {', '.join(map(str, inputs))}")
        if any((t.dtype, t.quant) != (first.dtype, first.quant) for t in inputs):
            raise ValueError("the inputs have different scales")
        shape = list(first.shape)
        shape[self.axis] = sum(t.shape[self.axis] for t in inputs)
        return replace(first, shape=tuple(shape), axes=union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        leading = np.broadcast_shapes(*(i.data.shape[:2] for i in inputs))
        parts = [np.broadcast_to(i.data, (*leading, *i.type.shape)) for i in inputs]
        return np.concatenate(parts, axis=self.axis + 2)
