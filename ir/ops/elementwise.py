"""The sum of two values (residual connections), in float32 and on codes (section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.arithmetic import dequantize, quantize
from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_count,
    expect_shape,
    union,
)
from qbnnc.ir.types import Array, DType, QuantParams, TensorType


@dataclass(frozen=True, slots=True)
class Add(DeterministicOp):
    """a + b, of equal shapes."""

    stages = FLOAT_STAGES

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        expect_shape("the second input", inputs[1], inputs[0].shape)
        return TensorType(DType.F32, inputs[0].shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        total: Array = inputs[0].data + inputs[1].data
        return total


@dataclass(frozen=True, slots=True)
class AddQuantized(DeterministicOp):
    """quant(f32(dequant(a) + dequant(b))), clamped to low..high (a ReLU has low = Z_y)."""

    stages = INTEGER_STAGE
    quant: QuantParams
    low: int
    high: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        expect_shape("the second input", inputs[1], inputs[0].shape)
        codes_of(inputs[0]), codes_of(inputs[1])
        return TensorType(DType.U8, inputs[0].shape, union(*inputs), self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        a, b = (dequantize(i.data, i.scale, i.zero_point) for i in inputs)
        rank = len(inputs[0].type.shape)
        scale, zero = self.quant.scale_array(rank), self.quant.zero_point_array(rank)
        return quantize(a + b, scale, zero, self.low, self.high).astype(np.uint8)
