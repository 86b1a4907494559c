"""Noise on activations: random numbers of any distribution (docs/semantics.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.ops.base import FLOAT_STAGES, INTEGER_STAGE, RandomOp, expect_count
from qbnnc.ir.rng import Draw, normal_table, uniform_table
from qbnnc.ir.types import (
    PER_ROW_AND_SAMPLE,
    PER_SAMPLE,
    Array,
    Axes,
    DType,
    QuantParams,
    TensorType,
)
from qbnnc.support import limits

_LANES = 2**16


class Distribution(Enum):
    """The number that a lane u of 16 bits stands for."""

    NORMAL = "normal"  # Phi^-1((u + .5) / 65536), N(0, 1)
    UNIFORM = "uniform"  # (u + .5) / 65536, uniform on (0, 1)

    @property
    def table(self) -> NDArray[np.float32]:
        """The number for each lane, f32 [65536], in rising order."""
        return normal_table() if self is Distribution.NORMAL else uniform_table()


@dataclass(frozen=True, slots=True)
class Noise(RandomOp):
    """Random numbers, one 16-bit lane an element: f32 [*shape].

    Each row has numbers of its own, unless they are `shared`: then all have those of row 0.
    """

    stages = FLOAT_STAGES
    since = 3
    has_own_scale = True
    distribution: Distribution
    shape: tuple[int, ...]
    stream: int
    shared: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 0)
        limits.STREAM.check(self.stream)
        return TensorType(DType.F32, self.shape, _axes(shared=self.shared))

    def draw(self, draw: Draw) -> Array:
        lanes = draw.lanes(self.stream, prod(self.shape), shared=self.shared)
        drawn: Array = self.distribution.table[lanes]
        return drawn.reshape(*lanes.shape[:2], *self.shape)


@dataclass(frozen=True, slots=True)
class NoiseCodes(RandomOp):
    """Codes of random numbers, u8 [*shape]: the number of thresholds that a lane reaches.

    `thresholds` are in rising order, 1..65536, one for each code but 0: code c begins at lane
    thresholds[c-1]. If `inverted`, 65535 - lane takes the place of the lane.
    """

    stages = INTEGER_STAGE
    since = 3
    shape: tuple[int, ...]
    stream: int
    thresholds: tuple[int, ...]
    quant: QuantParams
    shared: bool = False
    inverted: bool = False

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 0)
        limits.STREAM.check(self.stream)
        if len(self.thresholds) != self.quant.high or not 0 < self.quant.high < 256:
            raise ValueError(
                f"{len(self.thresholds)} thresholds do not divide codes 0..{self.quant.high}"
            )
        ends = (0, *self.thresholds, _LANES)
        if any(a > b for a, b in pairwise(ends)):
            raise ValueError("thresholds are lanes, 0..65536, in rising order")
        return TensorType(DType.U8, self.shape, _axes(shared=self.shared), self.quant)

    @property
    def table(self) -> NDArray[np.uint8]:
        """The code of each lane, u8 [65536]."""
        codes = np.searchsorted(self.thresholds, np.arange(_LANES), side="right")
        return (codes[::-1] if self.inverted else codes).astype(np.uint8)

    def draw(self, draw: Draw) -> Array:
        lanes = draw.lanes(self.stream, prod(self.shape), shared=self.shared)
        drawn: Array = self.table[lanes]
        return drawn.reshape(*lanes.shape[:2], *self.shape)


def thresholds_of(codes: NDArray[np.uint8], high: int) -> tuple[int, ...]:
    """The first lane of each code 1..high, from the code of each lane [65536] in rising order."""
    return tuple(np.searchsorted(codes, np.arange(1, high + 1)).tolist())


def _axes(*, shared: bool) -> Axes:
    return PER_SAMPLE if shared else PER_ROW_AND_SAMPLE
