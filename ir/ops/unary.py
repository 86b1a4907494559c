"""Unary functions, in float64 here and as tables of codes in integers (section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_count,
)
from qbnnc.ir.types import Array, DType, QuantParams, TensorType

Float64 = NDArray[np.float64]
_SQRT_2_PI = math.sqrt(2 / math.pi)


class Function(Enum):
    """f(x), with the parameter a where there is one."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    SILU = "silu"  # x * sigmoid(x)
    GELU = "gelu"  # x * Phi(x), by erf
    GELU_TANH = "gelu_tanh"  # the tanh approximation
    HARDSIGMOID = "hardsigmoid"  # clip(x/6 + 1/2, 0, 1)
    HARDSWISH = "hardswish"  # x * hardsigmoid(x)
    LEAKY_RELU = "leaky_relu"  # x if x > 0 else a*x
    ELU = "elu"  # x if x > 0 else a*(exp(x) - 1)
    SOFTPLUS = "softplus"  # log(1 + exp(x))
    EXP = "exp"
    ABS = "abs"

    def __call__(self, x: Float64, parameter: float) -> Float64:
        """f(x) in float64."""
        return _apply(self, x, parameter)


@dataclass(frozen=True, slots=True)
class Unary(DeterministicOp):
    """f of every element, in float64, rounded once to float32."""

    stages = FLOAT_STAGES
    function: Function
    parameter: float = 0.0

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        return TensorType(DType.F32, inputs[0].shape, inputs[0].axes)

    def evaluate(self, *inputs: Tensor) -> Array:
        return self.of(inputs[0].data)

    def of(self, x: Array) -> Array:
        """f32(f(float64(x)))."""
        with np.errstate(over="ignore"):
            return self.function(x.astype(np.float64), self.parameter).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Lookup(DeterministicOp):
    """table[q], u8: a unary function, or the same numbers under another scale.

    Inputs: codes u8, table u8 [hi + 1] for codes 0..hi.
    """

    stages = INTEGER_STAGE
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
    entries = (codes_of(x).high + 1,)
    if x.dtype is not DType.U8 or table.dtype is not dtype or table.shape != entries or table.axes:
        raise ValueError(f"{table} is no table for {x}")
    return x


def _apply(function: Function, x: Float64, a: float) -> Float64:
    formulas: dict[Function, Callable[[], Float64]] = {
        Function.SIGMOID: lambda: _sigmoid(x),
        Function.TANH: lambda: np.tanh(x),
        Function.SILU: lambda: x * _sigmoid(x),
        Function.GELU: lambda: x * _phi(x),
        Function.GELU_TANH: lambda: 0.5 * x * (1 + np.tanh(_SQRT_2_PI * (x + 0.044715 * x**3))),
        Function.HARDSIGMOID: lambda: np.clip(x / 6 + 0.5, 0, 1),
        Function.HARDSWISH: lambda: x * np.clip(x / 6 + 0.5, 0, 1),
        Function.LEAKY_RELU: lambda: np.where(x > 0, x, a * x),
        Function.ELU: lambda: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
        Function.SOFTPLUS: lambda: np.logaddexp(x, 0),
        Function.EXP: lambda: np.exp(x),
        Function.ABS: lambda: np.abs(x),
    }
    return formulas[function]()


def _sigmoid(x: Float64) -> Float64:
    return np.exp(-np.logaddexp(0, -x))


def _phi(x: Float64) -> Float64:
    """The distribution function of N(0, 1)."""
    erf: Float64 = np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2))
    return 0.5 * (1 + erf)
