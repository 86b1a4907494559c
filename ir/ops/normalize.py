"""Normalisation of groups by their own mean and variance (docs/semantics.md, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.ir.arithmetic import rounded
from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    ClampedOp,
    DeterministicOp,
    Tensor,
    broadcasts_to,
    codes_of,
    expect_codes,
    expect_count,
    expect_reals,
)
from qbnnc.ir.types import CONSTANT, Array, DType, QuantParams, TensorType
from qbnnc.ir.validity import check_bounds_within, check_float32
from qbnnc.support import limits

LEAST_VARIANCE = float(np.finfo(np.float32).smallest_normal)
LEAST_EPS, MOST_EPS = 2.0**-200, 2.0**200  # or 0
LEAST_FLOOR, MOST_FLOOR = 2.0**-100, 2.0**100
_EXACT_IN_FLOAT64 = 2**53


@dataclass(frozen=True, slots=True)
class Normalize(DeterministicOp):
    """(x - mean) / max(sqrt(variance + eps) + outer_eps, floor) * weight + bias.

    Mean and variance are those of each group: the last `axes` axes of x. The variance divides by
    the number of elements. If not `centred` the mean is 0 (RMS norm). variance + eps is at least
    the least normal float32, so that equal elements give the bias. Weight and bias are constants of
    the rank of x, and broadcast to it. Computed in float64, rounded once to float32.
    """

    stages = FLOAT_STAGES
    since = 4
    has_own_scale = True
    axes: int
    eps: float
    centred: bool = True
    outer_eps: float = 0.0
    floor: float = 0.0

    def infer(self, *inputs: TensorType) -> TensorType:
        x = _check_group(inputs, self.axes)
        expect_reals(*inputs)
        check_float32("eps", self.eps, self.outer_eps, self.floor)
        for number in (self.eps, self.outer_eps, self.floor):
            if number < 0:
                raise ValueError(f"a divisor takes no negative eps {number:g}")
        return TensorType(DType.F32, x.shape, x.axes)

    def evaluate(self, *inputs: Tensor) -> Array:
        x, weight, bias = (i.data.astype(np.float64) for i in inputs)
        over = tuple(range(-self.axes, 0))
        moved = x - x.mean(over, keepdims=True) if self.centred else x
        variance = np.square(moved).mean(over, keepdims=True) + self.eps
        root = np.sqrt(np.maximum(variance, LEAST_VARIANCE)) + self.outer_eps
        with np.errstate(over="ignore"):
            y = moved / np.maximum(root, self.floor) * weight + bias
            return np.asarray(y.astype(np.float32))


@dataclass(frozen=True, slots=True)
class NormalizeInteger(ClampedOp):
    """Codes of a normalised value, from codes of one scale.

    With k = q - Z of the F elements of a group, s1 = sum k (0 if not `centred`), s2 = sum k^2:

        D = max(sqrt(F*s2 - s1^2 + eps) + outer_eps, floor)             float64
        q_y = Z_y + rint(clip(f32(f32(F*k - s1) * f32(1/D)) * g + b, low - Z_y, high - Z_y))

    Inputs: codes u8, g = weight/S_y and b = bias/S_y f32. `eps`, `outer_eps` and `floor` are
    float64 numbers in units of these integers. F*s2 is below 2^53, and all sums are exact.
    """

    stages = INTEGER_STAGE
    since = 4
    axes: int
    eps: float
    outer_eps: float
    floor: float
    quant: QuantParams
    low: int
    high: int
    centred: bool = True

    def infer(self, *inputs: TensorType) -> TensorType:
        x = _check_group(inputs, self.axes)
        expect_codes(x)
        expect_reals(*inputs[1:])
        if not (
            (self.eps == 0 or LEAST_EPS <= self.eps <= MOST_EPS)
            and 0 <= self.outer_eps <= MOST_FLOOR
            and LEAST_FLOOR <= self.floor <= MOST_FLOOR
        ):
            raise ValueError(
                f"eps {self.eps:g}, outer_eps {self.outer_eps:g} or floor {self.floor:g} is out of "
                "range"
            )
        check_bounds_within(self.low, self.high, self.quant)
        largest, count = largest_code(codes_of(x)), group_size(x.shape, self.axes)
        if (count * largest) ** 2 >= _EXACT_IN_FLOAT64:
            raise ValueError(f"a group of {count} elements is too large for exact sums")
        return TensorType(DType.U8, x.shape, x.axes, self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        q, g, b = inputs
        k = q.data.astype(np.int64) - q.zero_point
        over, count = tuple(range(-self.axes, 0)), group_size(q.type.shape, self.axes)
        total = k.sum(over, keepdims=True) * self.centred
        spread = count * np.square(k).sum(over, keepdims=True) - total * total
        divisor = np.maximum(np.sqrt(spread.astype(np.float64) + self.eps) + self.outer_eps,
                             self.floor)  # fmt: skip
        inverse = (1.0 / divisor).astype(np.float32)
        normalised = (count * k - total).astype(np.float32) * inverse
        with np.errstate(over="ignore"):
            real = normalised * g.data + b.data
        return rounded(real, self.quant.per_tensor[1], self.low, self.high).astype(np.uint8)


def group_size(shape: tuple[int, ...], axes: int) -> int:
    """The number of elements of a group: those of the last `axes` axes."""
    return prod(shape[len(shape) - axes :])


def largest_code(quant: QuantParams) -> int:
    """The greatest |q - Z|."""
    zero = quant.per_tensor[1]
    return max(quant.high - zero, zero - quant.low)


def _check_group(inputs: tuple[TensorType, ...], axes: int) -> TensorType:
    """The type of x; ValueError unless it has so many axes, and the constants broadcast to it."""
    expect_count(inputs, 3)
    x = inputs[0]
    if not 1 <= axes <= len(x.shape):
        raise ValueError(f"{x} has no {limits.shown(axes)} axes to normalise over")
    for what, value in zip(("weight", "bias"), inputs[1:], strict=True):
        if len(value.shape) != len(x.shape) or not broadcasts_to(value.shape, x.shape):
            raise ValueError(f"the {what} {value} does not broadcast to {x}")
        if value.axes != CONSTANT:
            raise ValueError(f"the {what} {value} is no constant")
    return x
