"""Dropout: a mask drawn from counters, and what it does to a value (section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from qbnnc.ir.ops.base import (
    EVERY_STAGE,
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    RandomOp,
    Tensor,
    broadcasts_to,
    codes_of,
    expect_codes_of_any_type,
    expect_count,
    expect_reals,
    union,
)
from qbnnc.ir.rng import Draw, keep_threshold
from qbnnc.ir.types import PER_ROW_AND_SAMPLE, PER_SAMPLE, Array, DType, TensorType
from qbnnc.ir.validity import check_float32
from qbnnc.support import limits


@dataclass(frozen=True, slots=True)
class KeepMask(RandomOp):
    """1 where an element is kept, with probability 1 - p; else 0. One 16-bit lane an element.

    `shape` is that of the value to be masked, or [C, 1, 1] for feature dropout. `stream` numbers
    the call sites of a graph. `shared` gives every row the mask of row 0. `inverted` keeps the low
    lanes: the complement of a plain mask of the same stream with probability 1 - p.
    """

    stages = EVERY_STAGE
    shape: tuple[int, ...]
    p: float
    stream: int
    shared: bool = False
    inverted: bool = field(default=False, metadata={"since": 2})

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 0)
        if not 0 <= self.p < 1:
            raise ValueError(f"a dropout probability of {self.p} is not in [0, 1)")
        limits.STREAM.check(self.stream)
        axes = PER_SAMPLE if self.shared else PER_ROW_AND_SAMPLE
        return TensorType(DType.U8, self.shape, axes)

    @property
    def threshold(self) -> int:
        """t, 0..65536: a plain mask keeps lanes >= t, an inverted one lanes < t."""
        return keep_threshold(1 - self.p if self.inverted else self.p)

    def draw(self, draw: Draw) -> Array:
        lanes = draw.lanes(self.stream, prod(self.shape), shared=self.shared)
        reached = lanes >= self.threshold
        keep = (reached ^ self.inverted).astype(np.uint8)
        return keep.reshape(*keep.shape[:2], *self.shape)


def masked_type(inputs: tuple[TensorType, ...]) -> TensorType:
    """The type of x under a mask that broadcasts against it; ValueError if it does not."""
    expect_count(inputs, 2)
    x, mask = inputs
    fits = len(mask.shape) == len(x.shape) and broadcasts_to(mask.shape, x.shape)
    if mask.dtype is not DType.U8 or not fits:
        raise ValueError(f"{mask} is no mask for {x}")
    return replace(x, axes=union(x, mask))


@dataclass(frozen=True, slots=True)
class Mask(DeterministicOp):
    """x * mask * scale. The scale is 1 / (1 - p), or 1 once that is folded into the producer."""

    stages = FLOAT_STAGES
    keeps_codes = adds_zeros = elementwise = True
    commutes_with_clamp = commutes_with_factor = True
    scale: float

    @property
    def grid_factor(self) -> float:
        return self.scale

    def infer(self, *inputs: TensorType) -> TensorType:
        masked = masked_type(inputs)
        expect_reals(masked)
        check_float32("the scale", self.scale)
        if masked.quant is None or self.scale == 1.0:
            return masked
        return replace(masked, quant=masked.quant.scaled(self.scale))

    def evaluate(self, *inputs: Tensor) -> Array:
        x, mask = (i.data for i in inputs)
        y: Array = x * (mask * np.float32(self.scale))
        return y


@dataclass(frozen=True, slots=True)
class Select(DeterministicOp):
    """keep ? q : Z. A code means `scale` times as much: S_y = float32(float64(S_x) * scale).

    The codes are those of an activation, a weight (DropConnect) or a bias.
    """

    stages = INTEGER_STAGE
    keeps_codes = adds_zeros = elementwise = True
    scale: float = 1.0

    @property
    def grid_factor(self) -> float:
        return self.scale

    def infer(self, *inputs: TensorType) -> TensorType:
        masked = masked_type(inputs)
        expect_codes_of_any_type(masked)
        check_float32("the scale", self.scale)
        if masked.dtype is not DType.U8 and self.scale != 1.0:
            raise ValueError("a mask of a weight has the factor 1")
        quant = codes_of(masked)
        return masked if self.scale == 1.0 else replace(masked, quant=quant.scaled(self.scale))

    def evaluate(self, *inputs: Tensor) -> Array:
        q, mask = inputs
        y: Array = np.where(mask.data != 0, q.data, q.zero_point.astype(q.data.dtype))
        return y
