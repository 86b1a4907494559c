"""Linear and convolution layers on codes: equation (2) of the paper, docs/semantics.md section 3.

    acc_n = sum_k (q_x - Z_x)(q_w - Z_w) + q_b

With `folded` the terms that depend on constants alone are in the bias input:

    acc_n = sum_k q_x q_w - Z_w sum_k q_x + offset_n,   offset_n = q_b,n + K Z_w Z_x - Z_x sum_k q_w

`evaluate` writes the first two terms as sum_k q_x (q_w - Z_w), which is the same integer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.ops.base import (
    INTEGER_STAGE,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_count,
    union,
)
from qbnnc.ir.ops.contraction import contract, convolve, pad
from qbnnc.ir.ops.linear import ConvolutionGeometry, linear_shape
from qbnnc.ir.scales import accumulator_scale
from qbnnc.ir.types import Array, DType, QuantParams, TensorType

INT32_LOW, INT32_HIGH = -(2**31), 2**31 - 1
EXACT_IN_FLOAT32 = 2**24


class ContractionInteger(DeterministicOp):
    """Accumulators of a layer with weights: the inputs are x u8, weight i8 and bias i32.

    `folded`: the bias holds the terms of equation (2) that depend on constants alone.
    """

    __slots__ = ()
    stages = INTEGER_STAGE
    makes_accumulators = True
    folded: bool


@dataclass(frozen=True, slots=True)
class LinearInteger(ContractionInteger):
    """Accumulators of a linear layer: x u8 [K], weight i8 [N, K], bias i32 [N] -> i32 [N]."""

    folded: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        quant = accumulator_quant(inputs)
        return TensorType(DType.I32, linear_shape(inputs), union(*inputs), quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        q, weight, bias = inputs
        x, w = exact_operands(q, weight, q.data, folded=self.folded)
        return accumulated(contract(x, w, np.matmul), bias.data, folded=self.folded)


@dataclass(frozen=True, slots=True)
class Conv2dInteger(ConvolutionGeometry, ContractionInteger):
    """Accumulators of a convolution: x u8 [C, H, W], weight i8, bias i32 [O] -> i32 [O, Ho, Wo].

    Padding pads with the zero point of x, so that the folded offset is the same everywhere.
    """

    folded: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        quant = accumulator_quant(inputs)
        return TensorType(DType.I32, self.output_shape(inputs), union(*inputs), quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        q, weight, bias = inputs
        padded = pad(q.data, self.padding, q.quant.per_tensor[1])
        x, w = exact_operands(q, weight, padded, folded=self.folded)
        products = convolve(x, w, self.stride, self.dilation, self.groups, np.matmul)
        return accumulated(products, bias.data[..., None, None], folded=self.folded)


def accumulated(products: Array, bias: Array, *, folded: bool) -> Array:
    """products + bias as int32; OverflowError where the compiler's proof must have failed.

    A `folded` bias is given mod 2^32, and so is the sum.
    """
    total = products.astype(np.int64) + bias
    if not folded and total.size and (total.min() < INT32_LOW or total.max() > INT32_HIGH):
        raise OverflowError("an accumulator left int32")
    return total.astype(np.int32)


def accumulator_quant(inputs: tuple[TensorType, ...]) -> QuantParams:
    """Scale f32(S_x*S_w) per output channel, zero point 0; ValueError if codes are not codes."""
    expect_count(inputs, 3)
    x, weight = codes_of(inputs[0]), codes_of(inputs[1])
    if (inputs[0].dtype, inputs[1].dtype, inputs[2].dtype) != (DType.U8, DType.I8, DType.I32):
        raise ValueError(
            f"takes u8 and i8 codes and an i32 bias, not {', '.join(map(str, inputs))}"
        )
    if weight.axis not in (None, 0):
        raise ValueError("a weight has one scale, or one for each output channel")
    scale = accumulator_scale(x.per_tensor[0], weight.scale)
    return QuantParams(scale, (0,) * len(scale), INT32_LOW, INT32_HIGH, weight.axis)


def exact_operands(
    q: Tensor, weight: Tensor, padded: Array, *, folded: bool
) -> tuple[Array, Array]:
    """(q_x - Z_x or q_x, q_w - Z_w) in the float type that holds every partial sum exactly.

    BLAS multiplies floats only: float32 is exact below 2^24, float64 below 2^53.
    """
    shift = 0 if folded else q.quant.per_tensor[1]
    w = weight.data.astype(np.int32) - weight.zero_point
    largest = max(q.quant.high - shift, shift - q.quant.low)
    worst = largest * int(np.abs(w).sum(axis=tuple(range(3, w.ndim))).max(initial=0))
    dtype = np.dtype(np.float32 if worst < EXACT_IN_FLOAT32 else np.float64)
    return padded.astype(dtype) - dtype.type(shift), w.astype(dtype)
