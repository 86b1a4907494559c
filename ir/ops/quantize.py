"""Ops into codes, between codes, and out of codes (docs/semantics.md, sections 2 and 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from qbnnc.ir.arithmetic import dequantize, quantize, requantize
from qbnnc.ir.ops.base import (
    INTEGER_STAGE,
    ClampedOp,
    DeterministicOp,
    Tensor,
    broadcasts_to,
    codes_of,
    expect_count,
    expect_reals,
    union,
)
from qbnnc.ir.types import Array, DType, QuantParams, Stage, TensorType
from qbnnc.ir.validity import check_bounds_within, check_float32, check_scales


@dataclass(frozen=True, slots=True)
class FakeQuantize(DeterministicOp):
    """SQ of Figures 1-3: a real number rounded to the grid of its codes, dequant(quant(x))."""

    stages = frozenset({Stage.SIMULATED})
    elementwise = True
    quant: QuantParams

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        expect_reals(inputs[0])
        return replace(inputs[0], quant=self.quant)

    def codes(self, x: Array) -> Array:
        """The integers, i32, in the shape of x."""
        quant, rank = self.quant, x.ndim - 2
        zero = quant.zero_point_array(rank)
        return quantize(x, quant.scale_array(rank), zero, quant.low, quant.high)

    def evaluate(self, *inputs: Tensor) -> Array:
        x, rank = inputs[0].data, len(inputs[0].type.shape)
        scale, zero = self.quant.scale_array(rank), self.quant.zero_point_array(rank)
        return dequantize(self.codes(x), scale, zero)


@dataclass(frozen=True, slots=True)
class QuantizeInput(ClampedOp):
    """The input's codes: quant(f32(x - offset), scale, Z), with preprocessing folded in.

    `offset` and `scale` are in units of the raw input, one each or one for each channel (axis 0
    of the shape). `quant` says what the codes mean to the network's first layer. An offset of zero
    is no subtraction.
    """

    stages = INTEGER_STAGE
    elementwise = True
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    quant: QuantParams
    low: int
    high: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        x = inputs[0]
        for values in (self.offset, self.scale):
            if len(values) not in (1, *x.shape[:1]):
                raise ValueError(f"{len(values)} scales or offsets do not fit {x}")
        if x.dtype is not DType.F32 or x.quant is not None:
            raise ValueError(f"takes real numbers, not {x}")
        check_float32("the offset", *self.offset)
        check_scales(self.scale)
        check_bounds_within(self.low, self.high, self.quant)
        return TensorType(DType.U8, x.shape, x.axes, self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        x, channels = inputs[0].data, [1] * (len(inputs[0].type.shape) - 1)
        offset, scale = (
            np.asarray(values, np.float32).reshape(-1, *channels)
            for values in (self.offset, self.scale)
        )
        moved = x - offset if any(self.offset) else x
        zero = np.int32(self.quant.per_tensor[1])
        return quantize(moved, scale, zero, self.low, self.high).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Requantize(ClampedOp):
    """Accumulators to codes: requant(acc, m), m f32 constant that broadcasts against acc."""

    stages = INTEGER_STAGE
    elementwise = True
    quant: QuantParams
    low: int
    high: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        acc, m = inputs
        if acc.dtype is not DType.I32 or m.dtype is not DType.F32:
            raise ValueError(f"takes accumulators and multipliers, not {acc} and {m}")
        if not broadcasts_to(m.shape, acc.shape):
            raise ValueError(f"the multipliers {m} do not broadcast to {acc}")
        check_bounds_within(self.low, self.high, self.quant)
        return TensorType(DType.U8, acc.shape, union(*inputs), self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        acc, m = (i.data for i in inputs)
        zero = np.int32(self.quant.per_tensor[1])
        return requantize(acc, m, zero, self.low, self.high).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Dequantize(DeterministicOp):
    """A value that leaves the graph: f32(q - Z) * S, of codes or of accumulators (Z = 0).

    Elements are in row-major order under `shape`, if that is not the value's own.
    """

    stages = INTEGER_STAGE
    shape: tuple[int, ...] | None = None

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 1)
        codes_of(inputs[0])
        shape = inputs[0].shape if self.shape is None else self.shape
        if prod(shape) != inputs[0].size:
            raise ValueError(f"cannot reshape {inputs[0]} to {list(shape)}")
        return TensorType(DType.F32, shape, inputs[0].axes)

    def evaluate(self, *inputs: Tensor) -> Array:
        real = dequantize(inputs[0].data, inputs[0].scale, inputs[0].zero_point)
        return real if self.shape is None else real.reshape(*real.shape[:2], *self.shape)
