"""Softmax: the user's, over any axis; inside a network; and on integers (section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.arithmetic import requantize
from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    ClampedOp,
    DeterministicOp,
    Tensor,
    broadcasts_to,
    codes_of,
    expect_axis,
    expect_count,
    expect_reals,
    union,
)
from qbnnc.ir.types import CONSTANT, Array, DType, QuantParams, TensorType
from qbnnc.ir.validity import check_bounds_within, check_float32, check_scales

MOST_ENTRIES = 2**16  # of a table: float32 counts them
_NOTHING = -(2**62)  # below every integer of a row


@dataclass(frozen=True, slots=True)
class Softmax(DeterministicOp):
    """Softmax, or its logarithm, over one axis of the shape, as the front end has it.

    A pass strips it where it ends the network (see Head). Inside it becomes a ScaledSoftmax.
    """

    stages = FLOAT_STAGES
    axis: int
    log: bool

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        expect_reals(inputs[0])
        expect_axis(inputs[0], self.axis)
        return replace(inputs[0], axes=union(*inputs), quant=None)

    def evaluate(self, *inputs: Tensor) -> Array:
        x, axis = inputs[0].data.astype(np.float64), self.axis + 2
        shifted = x - x.max(axis=axis, keepdims=True)
        total = np.exp(shifted).sum(axis=axis, keepdims=True)
        y: Array = shifted - np.log(total) if self.log else np.exp(shifted) / total
        return y.astype(np.float32)


@dataclass(frozen=True, slots=True)
class ScaledSoftmax(DeterministicOp):
    """softmax(factor*x + bias) over the last axis, of the elements whose mask is 1.

    The inputs are x, and at most a mask (u8, 1 = takes part) and then a bias (f32). Both are
    constants that broadcast to x. An element whose mask is 0 gives 0.
    """

    stages = FLOAT_STAGES
    since = 4
    has_own_scale = True
    factor: float = 1.0

    def infer(self, *inputs: TensorType) -> TensorType:
        x, *constants = inputs
        expect_reals(x)
        expect_axis(x, len(x.shape) - 1)
        _options(x, constants, DType.F32)
        check_float32("the factor", self.factor)
        if not self.factor > 0:
            raise ValueError(f"the factor {self.factor:g} is not positive")
        return replace(x, axes=union(*inputs), quant=None)

    def evaluate(self, *inputs: Tensor) -> Array:
        mask, bias = _arrays(inputs[1:], DType.F32)
        x = inputs[0].data.astype(np.float64) * self.factor
        x = x if bias is None else x + bias
        x = x if mask is None else np.where(mask, x, -np.inf)
        shifted = np.exp(x - x.max(axis=-1, keepdims=True))
        y: Array = shifted / shifted.sum(axis=-1, keepdims=True)
        return y.astype(np.float32)


@dataclass(frozen=True, slots=True)
class SoftmaxInteger(ClampedOp):
    """Codes of a softmax over the last axis of integers x, u8 codes or i32 accumulators.

    The inputs are x, the table e (i32 [N]) of exponentials, and at most a mask (u8) and then a bias
    (i32, in steps of x), which broadcast to x. With d_i = max_j (x_j + b_j) - (x_i + b_i), over
    the elements whose mask is 1:

        e_i = e[min(rint(f32(d_i) * multiplier), N - 1)], or 0 if the mask is 0
        y_i = requant(e_i, f32(f32(1 / S_y) / f32(max(sum_j e_j, 1))))
    """

    stages = INTEGER_STAGE
    since = 4
    quant: QuantParams
    low: int
    high: int
    multiplier: float = 1.0

    @property
    def inverse_scale(self) -> float:
        """f32(1 / S_y)."""
        return float(np.float32(1) / np.float32(self.quant.per_tensor[0]))

    def infer(self, *inputs: TensorType) -> TensorType:
        if len(inputs) < 2:
            raise ValueError("takes integers and a table")
        x, table, *constants = inputs
        if x.dtype not in (DType.U8, DType.I32):
            raise ValueError(f"takes codes or accumulators, not {x}")
        _expect_one_scale(codes_of(x))
        expect_axis(x, len(x.shape) - 1)
        if table.dtype is not DType.I32 or len(table.shape) != 1 or table.axes != CONSTANT:
            raise ValueError(f"takes a constant table i32[N], not {table}")
        if not 1 <= table.shape[0] <= MOST_ENTRIES:
            raise ValueError(f"takes a table of 1 to {MOST_ENTRIES} entries, not {table.shape[0]}")
        _options(x, constants, DType.I32)
        check_scales((self.multiplier,))
        _expect_one_scale(self.quant)
        check_bounds_within(self.low, self.high, self.quant)
        return TensorType(DType.U8, x.shape, union(*inputs), self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        table = inputs[1].data.reshape(-1)
        mask, bias = _arrays(inputs[2:], DType.I32)
        x = inputs[0].data.astype(np.int64)
        x = x if bias is None else x + bias
        part = x if mask is None else np.where(mask, x, _NOTHING)
        distance = np.maximum(part.max(axis=-1, keepdims=True) - x, 0)
        steps = distance.astype(np.float32) * np.float32(self.multiplier)
        index = np.rint(np.minimum(steps, np.float32(len(table) - 1))).astype(np.int64)
        e = table[index] if mask is None else np.where(mask, table[index], 0)
        total = np.maximum(e.sum(axis=-1, keepdims=True), 1).astype(np.float32)
        r = np.float32(self.inverse_scale) / total
        zero = np.int32(self.quant.per_tensor[1])
        return requantize(e.astype(np.int32), r, zero, self.low, self.high).astype(np.uint8)


def option_places(types: Sequence[TensorType]) -> tuple[int | None, int | None]:
    """The places of mask and bias among the inputs of a SoftmaxInteger; None for none."""
    places = {type_.dtype: place for place, type_ in enumerate(types) if place >= 2}
    return places.get(DType.U8), places.get(DType.I32)


def _options(x: TensorType, constants: list[TensorType], of_bias: DType) -> None:
    """ValueError unless these are at most a mask and a bias, constants that broadcast to x."""
    dtypes = [type_.dtype for type_ in constants]
    if dtypes not in ([], [DType.U8], [of_bias], [DType.U8, of_bias]):
        raise ValueError("takes a mask and a bias, in this order, or one of them, or none")
    for type_ in constants:
        if type_.axes != CONSTANT or type_.quant is not None:
            raise ValueError(f"takes plain constants beside {x}, not {type_}")
        if len(type_.shape) != len(x.shape) or not broadcasts_to(type_.shape, x.shape):
            raise ValueError(f"the constant {type_} does not broadcast to {x}")


def _arrays(constants: tuple[Tensor, ...], of_bias: DType) -> tuple[Array | None, Array | None]:
    """The mask and the bias among the inputs behind the others."""
    found = {tensor.type.dtype: tensor.data for tensor in constants}
    return found.get(DType.U8), found.get(of_bias)


def _expect_one_scale(quant: QuantParams) -> None:
    """ValueError unless there is one scale."""
    if quant.axis is not None:
        raise ValueError(f"takes codes of one scale, not {quant}")
