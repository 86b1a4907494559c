"""Products of two computed matrices, as in attention (docs/semantics.md, section 4).

y[s, m, n] = factor * sum_k a[s, m, k] b[s, k, n]          b[s, n, k] if transposed
acc[s, m, n] = sum_k (q_a - Z_a)(q_b - Z_b),   scale f32(f32(S_a*S_b)*f32(factor))
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

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
    union,
)
from qbnnc.ir.ops.integer import EXACT_IN_FLOAT32, INT32_HIGH, INT32_LOW
from qbnnc.ir.products import float32_product
from qbnnc.ir.scales import accumulator_scale
from qbnnc.ir.types import Array, DType, QuantParams, TensorType

MOST_LEADING = 2  # axes before the matrices


@dataclass(frozen=True, slots=True)
class MatrixProduct(DeterministicOp):
    """A product of a [*S, M, K] and b [*S, K, N], or [*S, N, K] if `transposed`.

    S has 0 to 2 axes, which both have. The product is multiplied by `factor`, which is positive
    and costs nothing at run time.
    """

    since = 4
    transposed: bool = False
    factor: float = 1.0

    def output_shape(self, inputs: tuple[TensorType, ...]) -> tuple[int, ...]:
        """[*S, M, N]; ValueError if the inputs or the factor do not fit."""
        expect_count(inputs, 2)
        if not (self.factor > 0 and isfinite(self.factor)):
            raise ValueError(f"the factor {self.factor} is not positive and finite")
        a, b = (value.shape for value in inputs)
        if len(a) != len(b) or not 2 <= len(a) <= 2 + MOST_LEADING:
            raise ValueError(
                f"takes two matrices behind the same 0 to {MOST_LEADING} axes, not {list(a)} and "
                f"{list(b)}"
            )
        inner, columns = (b[-1], b[-2]) if self.transposed else (b[-2], b[-1])
        if a[:-2] != b[:-2] or a[-1] != inner:
            how = "the transposed" if self.transposed else "a"
            raise ValueError(f"{list(a)} does not multiply {how} {list(b)}")
        return (*a[:-1], columns)

    def right(self, b: Array) -> Array:
        """The second factor [..., K, N]."""
        return b.swapaxes(-1, -2) if self.transposed else b


@dataclass(frozen=True, slots=True)
class MatMul(MatrixProduct):
    """factor * a @ b in float32: a [*S, M, K], b [*S, K, N] ([*S, N, K] if transposed)."""

    stages = FLOAT_STAGES
    has_own_scale = leaves_as_number = True

    def infer(self, *inputs: TensorType) -> TensorType:
        shape = self.output_shape(inputs)
        expect_reals(*inputs)
        return TensorType(DType.F32, shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        a, b = (i.data for i in inputs)
        product: Array = float32_product(a, self.right(b)) * np.float32(self.factor)
        return product


@dataclass(frozen=True, slots=True)
class MatMulInteger(MatrixProduct):
    """acc = sum_k (q_a - Z_a)(q_b - Z_b), i32, of u8 codes: a Requantize follows.

    The accumulators' scale is f32(f32(S_a*S_b)*f32(factor)).
    """

    stages = INTEGER_STAGE
    makes_accumulators = True

    def infer(self, *inputs: TensorType) -> TensorType:
        shape = self.output_shape(inputs)
        expect_codes(*inputs)
        a, b = (codes_of(i).per_tensor[0] for i in inputs)
        (scale,) = accumulator_scale(a, (b,))
        quant = QuantParams(accumulator_scale(scale, (self.factor,)), (0,), INT32_LOW, INT32_HIGH)
        return TensorType(DType.I32, shape, union(*inputs), quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        """The sums by a float product in which every partial sum is exact."""
        worst = inputs[0].type.shape[-1]
        for each in inputs:
            zero = each.quant.per_tensor[1]
            worst *= max(each.quant.high - zero, zero)
        dtype = np.dtype(np.float32 if worst < EXACT_IN_FLOAT32 else np.float64)
        a, b = (i.data.astype(dtype) - dtype.type(i.quant.per_tensor[1]) for i in inputs)
        total = np.matmul(a, self.right(b))
        if total.size and (total.min() < INT32_LOW or total.max() > INT32_HIGH):
            raise OverflowError("an accumulator left int32")
        sums: Array = total.astype(np.int32)
        return sums
