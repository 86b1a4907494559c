"""Sums (residual connections) and products of two values, in float32 and on codes (section 4)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from qbnnc.ir.arithmetic import dequantize, quantize
from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    ClampedOp,
    DeterministicOp,
    Tensor,
    broadcast,
    codes_of,
    expect_codes,
    expect_count,
    expect_reals,
    expect_shape,
    union,
)
from qbnnc.ir.ops.integer import INT32_HIGH, INT32_LOW
from qbnnc.ir.scales import accumulator_scale
from qbnnc.ir.types import Array, DType, QuantParams, TensorType
from qbnnc.ir.validity import check_bounds_within


class Pairwise(DeterministicOp):
    """A function of each pair of elements of two values of equal shapes."""

    __slots__ = ()
    stages = FLOAT_STAGES
    elementwise = has_own_scale = True

    @staticmethod
    @abstractmethod
    def of(a: Array, b: Array) -> Array:
        """The function, of float32 arrays that broadcast."""

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        expect_reals(*inputs)
        expect_shape("the second input", inputs[1], inputs[0].shape)
        return TensorType(DType.F32, inputs[0].shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        return self.of(inputs[0].data, inputs[1].data)


@dataclass(frozen=True, slots=True)
class PairwiseQuantized(ClampedOp):
    """quant(f32(f(dequant(a), dequant(b)))) of a Pairwise f, clamped to low..high.

    A ReLU has low = Z_y.
    """

    stages = INTEGER_STAGE
    elementwise = True
    quant: QuantParams
    low: int
    high: int

    @classmethod
    @abstractmethod
    def simulated(cls) -> type[Pairwise]:
        """The op whose function f is."""

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        expect_shape("the second input", inputs[1], inputs[0].shape)
        expect_codes(*inputs)
        check_bounds_within(self.low, self.high, self.quant)
        return TensorType(DType.U8, inputs[0].shape, union(*inputs), self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        a, b = (dequantize(i.data, i.scale, i.zero_point) for i in inputs)
        rank = len(inputs[0].type.shape)
        scale, zero = self.quant.scale_array(rank), self.quant.zero_point_array(rank)
        real = self.simulated().of(a, b)
        return quantize(real, scale, zero, self.low, self.high).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Add(Pairwise):
    """a + b, of equal shapes."""

    composable = True

    @staticmethod
    def of(a: Array, b: Array) -> Array:
        total: Array = a + b
        return total


@dataclass(frozen=True, slots=True)
class AddQuantized(PairwiseQuantized):
    """quant(f32(dequant(a) + dequant(b))), clamped to low..high."""

    @classmethod
    def simulated(cls) -> type[Pairwise]:
        return Add


@dataclass(frozen=True, slots=True)
class Multiply(DeterministicOp):
    """a * b, of equal rank; 1 broadcasts (squeeze and excite)."""

    stages = FLOAT_STAGES
    elementwise = composable = has_own_scale = True

    def infer(self, *inputs: TensorType) -> TensorType:
        shape = product_shape(inputs)
        expect_reals(*inputs)
        return TensorType(DType.F32, shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        product: Array = inputs[0].data * inputs[1].data
        return product


@dataclass(frozen=True, slots=True)
class MultiplyInteger(DeterministicOp):
    """acc = (q_a - Z_a)(q_b - Z_b), i32 of scale f32(S_a*S_b): a Requantize follows."""

    stages = INTEGER_STAGE
    elementwise = makes_accumulators = True

    def infer(self, *inputs: TensorType) -> TensorType:
        shape = product_shape(inputs)
        expect_codes(*inputs)
        a, b = (codes_of(i).per_tensor[0] for i in inputs)
        quant = QuantParams(accumulator_scale(a, (b,)), (0,), INT32_LOW, INT32_HIGH)
        return TensorType(DType.I32, shape, union(*inputs), quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        a, b = (i.data.astype(np.int32) - i.zero_point for i in inputs)
        product: Array = a * b
        return product


def product_shape(inputs: tuple[TensorType, ...]) -> tuple[int, ...]:
    """The broadcast shape of two values of equal rank; ValueError if there is none."""
    expect_count(inputs, 2)
    a, b = inputs
    if len(a.shape) != len(b.shape):
        raise ValueError(f"{a} and {b} have different ranks")
    return broadcast(a.shape, b.shape)
