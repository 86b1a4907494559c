"""Activations: clamps (ReLU, ReLU6, hardtanh)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    ClampedOp,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_codes,
    expect_count,
    expect_reals,
)
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.ir.validity import check_float32


@dataclass(frozen=True, slots=True)
class Clamp(DeterministicOp):
    """min(max(x, low), high); None is no bound. ReLU is Clamp(0, None)."""

    stages = FLOAT_STAGES
    elementwise = composable = commutes_with_factor = True
    low: float | None
    high: float | None

    def scaled(self, factor: float) -> Clamp:
        """The clamp of x * factor that gives factor * clamp(x); a factor below 0 swaps the bounds.

        ValueError if it is 0.
        """
        if factor == 0:
            raise ValueError("no clamp of 0 tells what the clamp was")
        low, high = (None if b is None else b * factor for b in (self.low, self.high))
        return Clamp(low, high) if factor > 0 else Clamp(high, low)

    @property
    def keeps_zero(self) -> bool:
        """Whether the clamp of 0 is 0."""
        return (self.low or 0.0) <= 0.0 <= (self.high or 0.0)

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        expect_reals(inputs[0])
        check_float32("the bound", *(bound for bound in (self.low, self.high) if bound is not None))
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"the lower bound {self.low} is above the upper bound {self.high}")
        return TensorType(DType.F32, inputs[0].shape, inputs[0].axes)

    def evaluate(self, *inputs: Tensor) -> Array:
        low = None if self.low is None else np.float32(self.low)
        high = None if self.high is None else np.float32(self.high)
        x = inputs[0].data
        return x if low is None and high is None else np.clip(x, low, high)


@dataclass(frozen=True, slots=True)
class ClampCodes(ClampedOp):
    """A clamp of a value whose unclamped codes are needed too: min(max(q, low), high)."""

    stages = INTEGER_STAGE
    keeps_codes = elementwise = True
    low: int
    high: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        expect_codes(inputs[0])
        quant = codes_of(inputs[0])
        if not quant.low <= self.low <= self.high <= quant.high:
            raise ValueError(f"cannot clamp {inputs[0]} to {self.low}..{self.high}")
        return inputs[0]

    def evaluate(self, *inputs: Tensor) -> Array:
        q = inputs[0].data
        clamped: Array = np.clip(q, q.dtype.type(self.low), q.dtype.type(self.high))
        return clamped
