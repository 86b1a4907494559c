"""One of several constants, chosen at random for each sample (docs/semantics.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.ops.base import (
    EVERY_STAGE,
    DeterministicOp,
    RandomOp,
    Tensor,
    expect_count,
    union,
)
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import (
    CONSTANT,
    PER_ROW_AND_SAMPLE,
    PER_SAMPLE,
    Array,
    DType,
    QuantParams,
    TensorType,
)
from qbnnc.support import limits


@dataclass(frozen=True, slots=True)
class ChoiceIndex(RandomOp):
    """floor(lane * count / 65536), one number 0..count-1: i32 [1].

    All rows of a sample have the same number if it is `shared`. Several choices may read it, and
    then take the same member of what each chooses from. `shape` is [1].
    """

    stages = EVERY_STAGE
    since = 3
    count: int
    stream: int
    shared: bool = True
    shape: tuple[int, ...] = (1,)

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 0)
        limits.STREAM.check(self.stream)
        limits.CHOICES.check(self.count)
        if self.shape != (1,):
            raise ValueError(f"an index has the shape [1], not {list(self.shape)}")
        axes = PER_SAMPLE if self.shared else PER_ROW_AND_SAMPLE
        return TensorType(DType.I32, self.shape, axes, index_range(self.count))

    def draw(self, draw: Draw) -> Array:
        lanes = draw.lanes(self.stream, 1, shared=self.shared).astype(np.int64)
        return (lanes * self.count >> 16).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Choice(DeterministicOp):
    """values[index]: a constant [count, *shape] and an index give a value [*shape].

    The constant holds numbers, or codes. One scale for each channel is one for each index of an
    axis behind the first.
    """

    stages = EVERY_STAGE
    since = 3
    keeps_codes = True

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        values, index = inputs
        if values.axes != CONSTANT or len(values.shape) < 2:
            raise ValueError(f"chooses from a constant [count, *shape], not from {values}")
        if (
            index.dtype is not DType.I32
            or index.shape != (1,)
            or index.quant != index_range(values.shape[0])
        ):
            raise ValueError(f"{index} does not choose from {values}")
        return TensorType(
            values.dtype, values.shape[1:], union(values, index), _of_a_choice(values.quant)
        )

    def evaluate(self, *inputs: Tensor) -> Array:
        values, index = (i.data for i in inputs)
        chosen: Array = values[0, 0][index[..., 0]]
        return chosen


def index_range(count: int) -> QuantParams:
    """The numbers that an index can take: 0..count-1."""
    return QuantParams((1.0,), (0,), 0, count - 1)


def of_members(quant: QuantParams) -> QuantParams:
    """The codes [count, *shape] of all members, from those of one of them."""
    return quant if quant.axis is None else replace(quant, axis=quant.axis + 1)


def _of_a_choice(quant: QuantParams | None) -> QuantParams | None:
    if quant is None or quant.axis is None:
        return quant
    if quant.axis == 0:
        raise ValueError("the members of a choice have one scale, or one for each channel")
    return replace(quant, axis=quant.axis - 1)
