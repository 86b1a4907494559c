"""Sums of products that recurrences carry from step to step, in 16 bits (docs/semantics.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from qbnnc.ir.arithmetic import requantize
from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_codes,
    expect_reals,
    expect_shape,
    union,
)
from qbnnc.ir.scales import STATE_HIGH, accumulator_scale, multiplier
from qbnnc.ir.types import Array, DType, QuantParams, TensorType

T = TypeVar("T")


def is_state(type: TensorType) -> bool:
    """Whether these are codes of a carried state."""
    quant = type.quant
    return type.dtype is DType.I32 and quant is not None and is_state_quant(quant)


def is_state_quant(quant: QuantParams) -> bool:
    """Whether this is a quantiser of carried states."""
    ends = quant.low, quant.high
    return ends == (-STATE_HIGH, STATE_HIGH) and quant.zero_point == (0,) and quant.axis is None


@dataclass(frozen=True, slots=True)
class SumOfProducts(DeterministicOp):
    """a*b, or a*b + c*d, of equal shapes: a state of a recurrence, as an LSTM's f*c + i*g."""

    stages = FLOAT_STAGES
    since = 4
    elementwise = has_own_scale = True

    def infer(self, *inputs: TensorType) -> TensorType:
        _expect_pairs(inputs)
        expect_reals(*inputs)
        return TensorType(DType.F32, inputs[0].shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        first, *others = (a.data * b.data for a, b in pairs(inputs))
        return sum(others, start=first)


@dataclass(frozen=True, slots=True)
class SumOfProductsInteger(DeterministicOp):
    """clip(sum_k clip(rint(f32((q_a - Z_a)(q_b - Z_b)) * m_k))), m_k = f32(f32(S_a*S_b)/S).

    a is u8 codes, and b is u8 codes or a carried state. The result is a carried state of `quant`,
    i32, and each clip is to its codes.
    """

    stages = INTEGER_STAGE
    since = 4
    elementwise = True
    quant: QuantParams

    def infer(self, *inputs: TensorType) -> TensorType:
        _expect_pairs(inputs)
        if not is_state_quant(self.quant):
            raise ValueError(f"makes states of {STATE_HIGH} codes either way, not {self.quant}")
        for a, b in pairs(inputs):
            expect_codes(a)
            if not is_state(b):
                expect_codes(b)
        self.factors(inputs)
        return TensorType(DType.I32, inputs[0].shape, union(*inputs), self.quant)

    def factors(self, inputs: tuple[TensorType, ...]) -> tuple[float, ...]:
        """m of each product; ValueError if one is no normal float32."""
        found = list[float]()
        for pair in pairs(inputs):
            a, b = (codes_of(each).per_tensor[0] for each in pair)
            factor = float(multiplier(accumulator_scale(a, (b,)), self.quant.scale[0])[0])
            if not np.finfo(np.float32).smallest_normal <= factor < np.inf:
                raise ValueError(f"the scales {a:.6g} and {b:.6g} are too far from {self.quant}")
            found.append(factor)
        return tuple(found)

    def evaluate(self, *inputs: Tensor) -> Array:
        total = np.int32(0)
        factors = self.factors(tuple(each.type for each in inputs))
        for (a, b), factor in zip(pairs(inputs), factors, strict=True):
            p, q = (each.data.astype(np.int32) - each.zero_point for each in (a, b))
            total = total + requantize(
                p * q, np.float32(factor), 0, self.quant.low, self.quant.high
            )
        clipped: Array = np.clip(total, self.quant.low, self.quant.high)
        return clipped


def pairs(inputs: tuple[T, ...]) -> tuple[tuple[T, T], ...]:
    """The operands of each product, side by side."""
    return tuple(zip(inputs[::2], inputs[1::2], strict=True))


def _expect_pairs(inputs: tuple[TensorType, ...]) -> None:
    if len(inputs) not in (2, 4):
        raise ValueError(f"takes 2 or 4 inputs, not {len(inputs)}")
    for each in inputs[1:]:
        expect_shape("an input", each, inputs[0].shape)
