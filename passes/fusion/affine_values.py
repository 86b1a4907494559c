"""Scale and shift of a value, followed through the ops that move its elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Clamp, Gather, Move, Rearrangement, Reshape, Slice, Tensor, Transpose
from qbnnc.ir.types import CONSTANT, Array, DType, TensorType

Float64 = NDArray[np.float64]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scaling:
    """x * scale + shift for x of this shape.

    Both arrays have x's rank, and length 1 where they are the same along an axis.
    """

    shape: Shape
    scale: Float64
    shift: Float64

    @classmethod
    def of(cls, affine: Node, constants: Mapping[Value, Array]) -> Scaling:
        """The scaling that an Affine computes."""
        scale, shift = (constants[v].astype(np.float64) for v in affine.inputs[1:])
        return cls.made(affine.output.type.shape, scale, shift)

    @classmethod
    def made(cls, shape: Shape, scale: Float64, shift: Float64) -> Scaling:
        """Constants that broadcast against the shape, in their shortest form."""
        return cls(shape, *(shortest(a, len(shape)) for a in (scale, shift)))

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which it varies."""
        lengths = np.maximum(self.scale.shape, self.shift.shape)
        return tuple(axis for axis, length in enumerate(lengths) if length > 1)

    @property
    def number(self) -> tuple[float, float] | None:
        """Scale and shift where they are the same for all elements."""
        return None if self.axes else (self.scale.item(), self.shift.item())

    @property
    def per_channel(self) -> bool:
        """Whether it varies along axis 0 at most."""
        return set(self.axes) <= {0}

    @property
    def full(self) -> tuple[Float64, Float64]:
        """Scale and shift of every element."""
        scale, shift = (np.broadcast_to(a, self.shape) for a in (self.scale, self.shift))
        return scale, shift

    def before(self, op: Rearrangement, shape: Shape) -> Scaling | None:
        """The scaling of a value of this shape that does the same before the move, if there is one.

        A move that adds zeros commutes with one factor, any other with one factor and shift. A
        reshape or transpose commutes with everything, and a slice or gather with what is the same
        all along its axis.
        """
        if (number := self.number) is not None:
            keeps = number[1] == 0 or not _makes_zeros(op, shape)
            ones = (1,) * len(shape)
            return Scaling(shape, *(np.full(ones, n) for n in number)) if keeps else None
        match op:
            case Reshape():
                return Scaling.made(shape, *(a.reshape(shape) for a in self.full))
            case Transpose(permutation):
                inverse = np.argsort(permutation)
                return Scaling.made(shape, *(a.transpose(inverse) for a in self.full))
            case Slice(axis=axis) | Gather(axis=axis) if axis not in self.axes:
                return Scaling.made(shape, self.scale, self.shift)
        return None

    def after(self, op: Rearrangement) -> Scaling:
        """The scaling that does the same after the move: new zeros stay zeros."""
        type_ = TensorType(DType.F32, self.shape, CONSTANT)
        scale, shift = (op.evaluate(Tensor(a[None, None], type_))[0, 0] for a in self.full)
        return Scaling.made(scale.shape, scale, shift)

    def clamped(self, clamp: Clamp) -> Clamp | None:
        """The clamp of x * scale + shift that gives clamp(x) * scale + shift, if there is one.

        A negative scale exchanges the bounds.
        """
        if (number := self.number) is not None:
            scale, shift = number
            low, high = (None if b is None else b * scale + shift for b in (clamp.low, clamp.high))
            return Clamp(low, high) if scale >= 0 else Clamp(high, low)
        is_relu = {clamp.low, clamp.high} <= {0.0, None}
        return clamp if is_relu and (self.scale > 0).all() and not self.shift.any() else None


def _makes_zeros(op: Rearrangement, shape: Shape) -> bool:
    return isinstance(op, Move) and bool((op.source_of(shape) < 0).any())


def shortest(array: Float64, rank: int) -> Float64:
    """An array of this rank, with length 1 along the axes where all is equal."""
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    for axis in range(rank):
        first = array.take([0], axis=axis)
        if array.shape[axis] > 1 and (array == first).all():
            array = first
    return array
