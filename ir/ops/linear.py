"""Linear and convolution layers in float32 (FLOAT and SIMULATED)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    DeterministicOp,
    Tensor,
    expect_count,
    expect_reals,
    expect_shape,
    union,
)
from qbnnc.ir.ops.contraction import contract, convolve, pad
from qbnnc.ir.products import float32_product
from qbnnc.ir.types import Array, Axis, DType, TensorType
from qbnnc.support import limits


def linear_shape(inputs: tuple[TensorType, ...]) -> tuple[int, ...]:
    """[N] from x [K], weight [N, K], bias [N]; ValueError if they do not fit."""
    expect_count(inputs, 3)
    x, weight, bias = inputs
    if len(weight.shape) != 2:
        raise ValueError(f"the weight has shape {list(weight.shape)}, not [N, K]")
    expect_shape("the input", x, weight.shape[1:])
    expect_shape("the bias", bias, weight.shape[:1])
    expect_shared(weight, bias)
    return weight.shape[:1]


def expect_shared(weight: TensorType, bias: TensorType) -> None:
    """ValueError unless all rows of a batch have the same weight and bias."""
    if any(Axis.ROW in value.axes for value in (weight, bias)):
        raise ValueError("a weight or bias is the same for all rows")


class Contraction(DeterministicOp):
    """A layer with weights: sums of products of its inputs x and weight, plus its input bias."""

    __slots__ = ()
    stages = FLOAT_STAGES
    has_own_scale = leaves_as_number = True


@dataclass(frozen=True, slots=True)
class Linear(Contraction):
    """y = x @ weight.T + bias: x [K], weight [N, K], bias [N]."""

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_reals(*inputs)
        return TensorType(DType.F32, linear_shape(inputs), union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        x, weight, bias = (i.data for i in inputs)
        y: Array = contract(x, weight, float32_product) + bias
        return y


@dataclass(frozen=True, slots=True)
class ConvolutionGeometry:
    """Geometry of two-dimensional convolutions. padding is (top, left, bottom, right)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def output_shape(self, inputs: tuple[TensorType, ...]) -> tuple[int, ...]:
        """[O, Ho, Wo] from x [C, H, W], weight [O, C/groups, kh, kw], bias [O]; or ValueError."""
        expect_count(inputs, 3)
        x, weight, bias = inputs
        if len(x.shape) != 3 or len(weight.shape) != 4:
            raise ValueError(f"takes [C, H, W] and [O, C, kh, kw], not {x} and {weight}")
        expect_shape("the bias", bias, weight.shape[:1])
        expect_shared(weight, bias)
        limits.GROUPS.check(self.groups)
        if x.shape[0] != weight.shape[1] * self.groups or weight.shape[0] % self.groups:
            raise ValueError(f"{x} does not fit {weight} in {self.groups} groups")
        extents = spatial_extents(
            x.shape, (weight.shape[2], weight.shape[3]), self.stride, self.padding, self.dilation
        )
        return weight.shape[0], *extents


def spatial_extents(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    """(Ho, Wo) of a window that slides over [..., H, W]; ValueError if it does not fit once."""
    for limit, numbers in (
        (limits.KERNEL, kernel),
        (limits.STRIDE, stride),
        (limits.DILATION, dilation),
    ):
        for number in numbers:
            limit.check(number)
    room = padded_extents(shape, padding)
    free = [r - (k - 1) * d - 1 for r, k, d in zip(room, kernel, dilation, strict=True)]
    if min(free) < 0:
        raise ValueError(f"a window of {list(kernel)} does not fit into {list(shape)}")
    return free[0] // stride[0] + 1, free[1] // stride[1] + 1


def padded_extents(shape: tuple[int, ...], padding: tuple[int, int, int, int]) -> tuple[int, int]:
    """Height and width with padding (top, left, bottom, right); ValueError beyond the limits."""
    for number in padding:
        limits.PADDING.check(number)
    height, width = shape[-2] + padding[0] + padding[2], shape[-1] + padding[1] + padding[3]
    limits.PADDED.check(prod(shape[:-2]) * height * width)
    return height, width


@dataclass(frozen=True, slots=True)
class Conv2d(ConvolutionGeometry, Contraction):
    """Cross-correlation plus bias: x [C, H, W], weight [O, C/groups, kh, kw], bias [O]."""

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_reals(*inputs)
        return TensorType(DType.F32, self.output_shape(inputs), union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        x, weight, bias = (i.data for i in inputs)
        padded = pad(x, self.padding, 0)
        y = convolve(padded, weight, self.stride, self.dilation, self.groups, float32_product)
        return np.asarray(y + bias[..., None, None])
