"""Functions of every element: in float64 here, and as tables of codes in integers (section 4)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_codes,
    expect_count,
    expect_reals,
)
from qbnnc.ir.ops.functions import Float64, Function
from qbnnc.ir.types import Array, DType, QuantParams, TensorType
from qbnnc.ir.validity import check_finite


class Pointwise(DeterministicOp):
    """f of every element, in float64, rounded once to float32; a table of codes in integers."""

    __slots__ = ()
    stages = FLOAT_STAGES
    elementwise = composable = has_own_scale = leaves_as_number = True

    @abstractmethod
    def real(self, x: Float64) -> Float64:
        """f(x) in float64; NaN or infinite outside the domain of f."""

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        expect_reals(inputs[0])
        return TensorType(DType.F32, inputs[0].shape, inputs[0].axes)

    def evaluate(self, *inputs: Tensor) -> Array:
        return self.of(inputs[0].data)

    def of(self, x: Array) -> Array:
        """f32(f(float64(x)))."""
        with np.errstate(over="ignore"):
            return self.real(x.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Unary(Pointwise):
    """One function that has a name."""

    function: Function
    parameter: float = 0.0

    def infer(self, *inputs: TensorType) -> TensorType:
        check_finite("the parameter", self.parameter)
        return super(Unary, self).infer(*inputs)

    def real(self, x: Float64) -> Float64:
        return self.function(x, self.parameter)


@dataclass(frozen=True, slots=True)
class Lookup(DeterministicOp):
    """table[q], u8: a unary function, or the same numbers under another scale.

    Inputs: codes u8, table u8 [hi + 1] for codes 0..hi.
    """

    stages = INTEGER_STAGE
    elementwise = True
    quant: QuantParams

    def infer(self, *inputs: TensorType) -> TensorType:
        x = _check_table(inputs, DType.U8)
        return TensorType(DType.U8, x.shape, x.axes, self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        return _looked_up(*inputs)


@dataclass(frozen=True, slots=True)
class LookupReal(DeterministicOp):
    """table[q], f32: a unary function whose value leaves the graph."""

    stages = INTEGER_STAGE
    elementwise = True

    def infer(self, *inputs: TensorType) -> TensorType:
        x = _check_table(inputs, DType.F32)
        return TensorType(DType.F32, x.shape, x.axes)

    def evaluate(self, *inputs: Tensor) -> Array:
        return _looked_up(*inputs)


def _looked_up(codes: Tensor, table: Tensor) -> Array:
    found: Array = table.data[0, 0][codes.data]
    return found


def _check_table(inputs: tuple[TensorType, ...], dtype: DType) -> TensorType:
    expect_count(inputs, 2)
    x, table = inputs
    expect_codes(x)
    entries = (codes_of(x).high + 1,)
    if table.dtype is not dtype or table.shape != entries or table.axes:
        raise ValueError(f"{table} is no table for {x}")
    return x
