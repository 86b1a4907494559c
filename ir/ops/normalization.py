"""Batch normalisation and constant scale and shift (FLOAT; passes fold both away)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    DeterministicOp,
    Tensor,
    broadcasts_to,
    expect_count,
    expect_reals,
    expect_shape,
    union,
)
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.ir.validity import check_float32


@dataclass(frozen=True, slots=True)
class BatchNorm(DeterministicOp):
    """(x - mean) / sqrt(var + eps) * weight + bias over axis 0 of x; the four are [C]."""

    stages = FLOAT_STAGES
    elementwise = True
    eps: float

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 5)
        expect_reals(*inputs)
        check_float32("eps", self.eps)
        x = inputs[0]
        for what, value in zip(("weight", "bias", "mean", "variance"), inputs[1:], strict=True):
            expect_shape(f"the {what}", value, x.shape[:1])
        return TensorType(DType.F32, x.shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        x, *channels = (i.data for i in inputs)
        weight, bias, mean, var = (a.reshape(*a.shape, *[1] * (x.ndim - 3)) for a in channels)
        y: Array = (x - mean) / np.sqrt(var + np.float32(self.eps)) * weight + bias
        return y


@dataclass(frozen=True, slots=True)
class Affine(DeterministicOp):
    """x * scale + shift; scale and shift are constants that broadcast against x's shape."""

    stages = FLOAT_STAGES
    elementwise = composable = True

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 3)
        expect_reals(*inputs)
        x = inputs[0]
        for what, value in zip(("scale", "shift"), inputs[1:], strict=True):
            if not broadcasts_to(value.shape, x.shape):
                raise ValueError(f"the {what} {value} does not broadcast to {x}")
        return TensorType(DType.F32, x.shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        x, scale, shift = (i.data for i in inputs)
        rank = x.ndim - 2
        scale, shift = (
            a.reshape(*a.shape[:2], *[1] * (rank - (a.ndim - 2)), *a.shape[2:])
            for a in (scale, shift)
        )
        y: Array = x * scale + shift
        return y
