"""The op that takes one of several inputs out of a row."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from qbnnc.ir.ops.base import EVERY_STAGE, DeterministicOp, Tensor, expect_count, expect_reals
from qbnnc.ir.types import PER_ROW, Array, TensorType
from qbnnc.support import limits


@dataclass(frozen=True, slots=True)
class Part(DeterministicOp):
    """One of several inputs: elements start, start + 1, ... of the row, under a shape of their own.

    The graph's input is the row, f32 [N]: all inputs in row-major order, one after another. The
    result's name is the input's (`qbnnc.ir.inputs`).
    """

    stages = EVERY_STAGE
    since = 4
    start: int
    shape: tuple[int, ...]

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        row = inputs[0]
        expect_reals(row)
        limits.check_shape(self.shape)
        if row.quant is not None or row.axes != PER_ROW or len(row.shape) != 1:
            raise ValueError(f"takes the row of all inputs, f32[N]{{row}}, not {row}")
        if self.start < 0 or self.start + prod(self.shape) > row.size:
            raise ValueError(
                f"takes elements {limits.shown(self.start)} to "
                f"{limits.shown(self.start + prod(self.shape))} of a row of {row.size}"
            )
        return TensorType(row.dtype, self.shape, PER_ROW)

    def evaluate(self, *inputs: Tensor) -> Array:
        row = inputs[0].data
        part = row[..., self.start : self.start + prod(self.shape)]
        return part.reshape(*row.shape[:2], *self.shape)
