"""Pooling windows over [C, H, W], on float32 and on codes (docs/semantics.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qbnnc.ir.ops.base import (
    EVERY_STAGE,
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    Tensor,
    codes_of,
    expect_codes,
    expect_count,
    expect_reals,
)
from qbnnc.ir.ops.contraction import pad, windows
from qbnnc.ir.ops.integer import INT32_HIGH, INT32_LOW
from qbnnc.ir.ops.linear import spatial_extents
from qbnnc.ir.types import Array, DType, QuantParams, TensorType

_LEAST_DIVISOR = float(np.finfo(np.float32).smallest_normal)
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class PoolingGeometry:
    """padding is (top, left, bottom, right); right and bottom may be larger (ceil mode)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def output_shape(self, inputs: tuple[TensorType, ...]) -> tuple[int, ...]:
        """[C, Ho, Wo] from [C, H, W]; ValueError if the window does not fit."""
        expect_count(inputs, 1)
        shape = inputs[0].shape
        if len(shape) != 3:
            raise ValueError(f"takes [C, H, W], not {inputs[0]}")
        extents = spatial_extents(shape, self.kernel, self.stride, self.padding, self.dilation)
        return shape[0], *extents

    def windows_meet(self, shape: tuple[int, ...]) -> bool:
        """Whether each window is known to have a place inside an image [C, H, W]."""
        extents = spatial_extents(shape, self.kernel, self.stride, self.padding, self.dilation)
        return all(
            before <= (taps - 1) * dilation
            and (count - 1) * stride - before < size
            and (dilation <= size or not before)
            for size, count, taps, stride, before, dilation in zip(
                shape[1:],
                extents,
                self.kernel,
                self.stride,
                self.padding[:2],
                self.dilation,
                strict=True,
            )
        )

    def window_sums(self, x: Array, fill: float) -> Array:
        """The sum over each window, `fill` around the edge, in x's element type."""
        view = windows(pad(x, self.padding, fill), self.kernel, self.stride, self.dilation)
        total: Array = view.sum(axis=(-2, -1), dtype=x.dtype)
        return total

    def positions_inside(self, height: int, width: int) -> Array:
        """The number of places of each window that lie inside the image: i64 [Ho, Wo]."""
        return self.window_sums(np.ones((height, width), np.int64), 0)


@dataclass(frozen=True, slots=True)
class MaxPool2d(PoolingGeometry, DeterministicOp):
    """The maximum over each window, of numbers or of codes; padding never wins."""

    stages = EVERY_STAGE
    keeps_codes = commutes_with_clamp = commutes_with_factor = True

    def infer(self, *inputs: TensorType) -> TensorType:
        shape = self.output_shape(inputs)
        if inputs[0].dtype not in (DType.F32, DType.U8):
            raise ValueError(f"takes real numbers or u8 codes, not {inputs[0]}")
        return replace(inputs[0], shape=shape)

    def evaluate(self, *inputs: Tensor) -> Array:
        x = inputs[0].data
        lowest = 0 if x.dtype == np.uint8 else -np.inf
        view = windows(pad(x, self.padding, lowest), self.kernel, self.stride, self.dilation)
        y: Array = view.max(axis=(-2, -1))
        return y


@dataclass(frozen=True, slots=True)
class AveragePool2d(PoolingGeometry, DeterministicOp):
    """The mean over each window; with count_include_pad zeros of the padding count.

    `divisors` take the place of the number of elements, one for all windows or one for each, in
    row-major order: 1 makes it the sum.
    """

    stages = FLOAT_STAGES
    has_own_scale = commutes_with_factor = True
    count_include_pad: bool = True
    divisors: tuple[float, ...] = field(default=(), metadata={"since": 2})

    def infer(self, *inputs: TensorType) -> TensorType:
        shape = self.output_shape(inputs)
        expect_reals(inputs[0])
        if len(self.divisors) not in (0, 1, shape[1] * shape[2]):
            raise ValueError(f"divides {list(shape[1:])} windows by {len(self.divisors)} numbers")
        if not all(_LEAST_DIVISOR <= divisor <= _LARGEST for divisor in self.divisors):
            raise ValueError("divides by something other than positive, normal float32 numbers")
        return TensorType(DType.F32, shape, inputs[0].axes)

    def counts(self, height: int, width: int) -> Array:
        """n for each window: [Ho, Wo], or [1, 1] if it is the same everywhere."""
        if len(self.divisors) == 1:
            return np.array(self.divisors, np.float32).reshape(1, 1)
        if self.divisors:
            extents = spatial_extents(
                (height, width), self.kernel, self.stride, self.padding, self.dilation
            )
            return np.array(self.divisors, np.float32).reshape(extents)
        if self.count_include_pad or not any(self.padding):
            return np.full((1, 1), self.kernel[0] * self.kernel[1], np.int64)
        return self.positions_inside(height, width)

    def evaluate(self, *inputs: Tensor) -> Array:
        x = inputs[0].data
        y: Array = self.window_sums(x, 0) / self.counts(*x.shape[-2:]).astype(np.float32)
        return y


@dataclass(frozen=True, slots=True)
class SumPoolInteger(PoolingGeometry, DeterministicOp):
    """acc = sum over the window of (q - Z): u8 [C, H, W] -> i32 [C, Ho, Wo].

    The division by n is in the multiplier of the Requantize that follows.
    """

    stages = INTEGER_STAGE
    makes_accumulators = True

    def infer(self, *inputs: TensorType) -> TensorType:
        shape = self.output_shape(inputs)
        expect_codes(inputs[0])
        scale, _ = codes_of(inputs[0]).per_tensor
        quant = QuantParams((scale,), (0,), INT32_LOW, INT32_HIGH)
        return TensorType(DType.I32, shape, inputs[0].axes, quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        q = inputs[0]
        return self.window_sums(q.data.astype(np.int32) - q.zero_point, 0)
