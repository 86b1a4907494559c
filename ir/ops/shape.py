"""Ops that move elements and change none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from qbnnc.ir.ops.base import EVERY_STAGE, DeterministicOp, Tensor, expect_count
from qbnnc.ir.types import Array, TensorType


@dataclass(frozen=True, slots=True)
class Reshape(DeterministicOp):
    """The same elements in row-major order under another shape (without the batch)."""

    stages = EVERY_STAGE
    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        if prod(self.shape) != inputs[0].size or min(self.shape, default=1) < 1:
            raise ValueError(f"cannot reshape {inputs[0]} to {list(self.shape)}")
        return replace(inputs[0], shape=self.shape)

    def evaluate(self, *inputs: Tensor) -> Array:
        x = inputs[0].data
        return x.reshape(*x.shape[:2], *self.shape)
