"""Ops that move elements and change none; what is new is zero (or its code)."""

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
    expect_count,
    union,
)
from qbnnc.ir.types import Array, DType, TensorType

Index = NDArray[np.int64]
_MOST_ELEMENTS = 1 << 28  # of one row: a hostile file could ask for any number


def _expect_one_scale(type: TensorType) -> None:
    if type.quant is not None and type.quant.axis is not None:
        raise ValueError(f"{type} has a scale for each channel, which would lose its place")


@dataclass(frozen=True, slots=True)
class Reshape(DeterministicOp):
    """The same elements in row-major order under another shape (without the batch)."""

    stages = EVERY_STAGE
    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        _expect_one_scale(inputs[0])
        if prod(self.shape) != inputs[0].size or min(self.shape, default=1) < 1:
            raise ValueError(f"cannot reshape {inputs[0]} to {list(self.shape)}")
        return replace(inputs[0], shape=self.shape)

    def evaluate(self, *inputs: Tensor) -> Array:
        x = inputs[0].data
        return x.reshape(*x.shape[:2], *self.shape)


class Move(DeterministicOp):
    """Every element of the result is an element of x, or zero."""

    __slots__ = ()

    @abstractmethod
    def source(self, index: Index) -> Index:
        """Where each element comes from: `index` is x's own row-major numbers in x's shape.

        The result has the shape of the output; -1 stands for a new zero.
        """

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        _expect_one_scale(inputs[0])
        source = self.source_of(inputs[0].shape)
        if source.size == 0:
            raise ValueError(f"nothing is left of {inputs[0]}")
        return replace(inputs[0], shape=source.shape)

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

    stages = EVERY_STAGE
    permutation: tuple[int, ...]

    def source(self, index: Index) -> Index:
        if sorted(self.permutation) != list(range(index.ndim)):
            raise ValueError(f"{list(self.permutation)} is no order of {index.ndim} axes")
        return index.transpose(self.permutation)


@dataclass(frozen=True, slots=True)
class Slice(Move):
    """x[..., start:stop:step, ...] along one axis; step is 1 or more."""

    stages = EVERY_STAGE
    axis: int
    start: int
    stop: int
    step: int = 1

    def source(self, index: Index) -> Index:
        if not 0 <= self.axis < index.ndim or self.step < 1:
            raise ValueError(f"cannot slice axis {self.axis} by {self.step}")
        taken = [slice(None)] * index.ndim
        taken[self.axis] = slice(self.start, self.stop, self.step)
        return index[tuple(taken)]


@dataclass(frozen=True, slots=True)
class Pad(Move):
    """Zeros around the last two axes; padding is (top, left, bottom, right)."""

    stages = EVERY_STAGE
    padding: tuple[int, int, int, int]

    def source(self, index: Index) -> Index:
        top, left, bottom, right = self.padding
        if index.ndim < 2 or min(self.padding) < 0:
            raise ValueError("pads images, by 0 or more")
        widths = [(0, 0)] * (index.ndim - 2) + [(top, bottom), (left, right)]
        return np.pad(index, widths, constant_values=-1)


@dataclass(frozen=True, slots=True)
class InsertZeros(Move):
    """stride - 1 zeros between neighbours of the last two axes: what a transposed convolution does.

    A transposed convolution is this, a Pad, and a convolution with the flipped weight.
    """

    stages = EVERY_STAGE
    stride: tuple[int, int]

    def source(self, index: Index) -> Index:
        if index.ndim < 2 or min(self.stride) < 1:
            raise ValueError("spreads images, by 1 or more")
        height, width = (
            (n - 1) * s + 1 for n, s in zip(index.shape[-2:], self.stride, strict=True)
        )
        spread = np.full((*index.shape[:-2], height, width), -1, np.int64)
        spread[..., :: self.stride[0], :: self.stride[1]] = index
        return spread


@dataclass(frozen=True, slots=True)
class UpsampleNearest(Move):
    """Every element of the last two axes repeated: nearest-neighbour resize by whole factors."""

    stages = EVERY_STAGE
    factors: tuple[int, int]

    def source(self, index: Index) -> Index:
        if index.ndim < 2 or min(self.factors) < 1:
            raise ValueError("enlarges images, by 1 or more")
        return index.repeat(self.factors[0], axis=-2).repeat(self.factors[1], axis=-1)


@dataclass(frozen=True, slots=True)
class Gather(Move):
    """Element i along the axis is element indices[i] of x: repeats, reorders and leaves out."""

    stages = EVERY_STAGE
    axis: int
    indices: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        """As of any move, without one number for each element."""
        expect_count(inputs, 1)
        _expect_one_scale(inputs[0])
        shape = list(inputs[0].shape)
        if not 0 <= self.axis < len(shape) or not self.indices:
            raise ValueError(f"cannot take {len(self.indices)} elements along axis {self.axis}")
        if not all(0 <= index < shape[self.axis] for index in self.indices):
            raise ValueError(f"takes elements that axis {self.axis} of {inputs[0]} does not have")
        shape[self.axis] = len(self.indices)
        if prod(shape) > _MOST_ELEMENTS:
            raise ValueError(f"makes {shape}, which is more than a value may hold")
        return replace(inputs[0], shape=tuple(shape))

    def source(self, index: Index) -> Index:
        return index.take(self.indices, axis=self.axis)

    def evaluate(self, *inputs: Tensor) -> Array:
        return inputs[0].data.take(self.indices, axis=self.axis + 2)


@dataclass(frozen=True, slots=True)
class Concat(DeterministicOp):
    """The inputs one after the other along an axis of the shape; codes must share their scale."""

    stages = EVERY_STAGE
    axis: int

    def infer(self, *inputs: TensorType) -> TensorType:
        if not inputs or not 0 <= self.axis < len(inputs[0].shape):
            raise ValueError(f"cannot join {len(inputs)} values along axis {self.axis}")
        first = inputs[0]
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
