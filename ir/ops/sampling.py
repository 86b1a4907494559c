"""Sampled weights (Bayes by Backprop): w = mu + sigma * eps (docs/semantics.md, section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    RandomOp,
    Tensor,
    broadcasts_to,
    codes_of,
    expect_count,
    expect_reals,
    expect_shape,
    union,
)
from qbnnc.ir.rng import Draw, eps_table, normal_table
from qbnnc.ir.types import EPS_QUANT, PER_SAMPLE, Array, DType, QuantParams, TensorType
from qbnnc.support import limits

_LARGEST_CODE = 2**30


@dataclass(frozen=True, slots=True)
class Normal(RandomOp):
    """N(0, 1), one 16-bit lane an element: f32 [*shape], the same for all rows of a sample.

    `shape` is that of the noise tensor as the user's program made it.
    """

    stages = FLOAT_STAGES
    shape: tuple[int, ...]
    stream: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 0)
        limits.STREAM.check(self.stream)
        return TensorType(DType.F32, self.shape, PER_SAMPLE)

    def draw(self, draw: Draw) -> Array:
        lanes = draw.lanes(self.stream, prod(self.shape), shared=True)
        drawn: Array = normal_table()[lanes]
        return drawn.reshape(len(lanes), 1, *self.shape)


@dataclass(frozen=True, slots=True)
class EpsCodes(RandomOp):
    """Codes of N(0, 1), i8 [*shape], scale f32(3/127), zero point 0."""

    stages = INTEGER_STAGE
    shape: tuple[int, ...]
    stream: int

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 0)
        limits.STREAM.check(self.stream)
        return TensorType(DType.I8, self.shape, PER_SAMPLE, EPS_QUANT)

    def draw(self, draw: Draw) -> Array:
        lanes = draw.lanes(self.stream, prod(self.shape), shared=True)
        drawn: Array = eps_table()[lanes]
        return drawn.reshape(len(lanes), 1, *self.shape)


@dataclass(frozen=True, slots=True)
class SampledWeight(DeterministicOp):
    """mu + sigma * eps: mu and sigma (of any sign) [*shape], eps of any shape.

    Element i takes eps[i] in row-major order, or eps[index[i]] with a fourth input, an i32
    constant [*shape]: noise may be transposed, sliced or shared with other weights.
    """

    stages = FLOAT_STAGES

    def infer(self, *inputs: TensorType) -> TensorType:
        _check_count(inputs, 3)
        _check_noise(inputs, inputs[3:])
        expect_reals(*inputs[:3])
        return TensorType(DType.F32, inputs[0].shape, union(*inputs))

    def evaluate(self, *inputs: Tensor) -> Array:
        mu, sigma = inputs[0].data, inputs[1].data
        weight: Array = mu + sigma * arranged(inputs[2], inputs[0].type.shape, inputs[3:])
        return weight


@dataclass(frozen=True, slots=True)
class SampledWeightInteger(DeterministicOp):
    """quant(f32(q_eps * q_sigma + R * q_mu), r, Z_w, lo, hi): codes of a sampled weight or bias.

    Inputs: mu and sigma i8 [*shape] (zero point 0), eps i8, the ratio R i32 and the divisor r f32,
    and the index of `SampledWeight` if there is one. R and r broadcast against the weight. The sum
    is below 2^24, so that its float32 is exact: one integer expression, one rounding. The result is
    i8 codes, or i32 for a bias (`quant` then has more than 8 bits).
    """

    stages = INTEGER_STAGE
    quant: QuantParams

    def infer(self, *inputs: TensorType) -> TensorType:
        _check_count(inputs, 5)
        (mu, sigma, eps), (ratio, divisor) = inputs[:3], inputs[3:5]
        _check_noise(inputs[:3], inputs[5:])
        if (mu.dtype, sigma.dtype, eps.dtype) != (DType.I8,) * 3 or eps.quant != EPS_QUANT:
            raise ValueError(f"takes i8 codes and noise, not {mu}, {sigma} and {eps}")
        for what, value, dtype in (("R", ratio, DType.I32), ("r", divisor, DType.F32)):
            if value.dtype is not dtype or len(value.shape) != len(mu.shape):
                raise ValueError(f"{what} is {value}")
            if not broadcasts_to(value.shape, mu.shape):
                raise ValueError(f"{what} {value} does not broadcast to {mu}")
        if any(any(codes_of(i).zero_point) for i in inputs[:2]):
            raise ValueError("mu and sigma have the zero point 0")
        _check_rounding(self.quant)
        dtype = DType.I8 if self.quant.bits <= 8 else DType.I32
        return TensorType(dtype, mu.shape, union(*inputs), self.quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        mu, sigma = (i.data.astype(np.int32) for i in inputs[:2])
        ratio, divisor = (i.data for i in inputs[3:5])
        eps = arranged(inputs[2], inputs[0].type.shape, inputs[5:]).astype(np.int32)
        exact = (eps * sigma + ratio * mu).astype(np.float32)
        zero = self.quant.zero_point_array(mu.ndim - 2)
        codes = quantize(exact, divisor, zero, self.quant.low, self.quant.high)
        return codes.astype(np.int8) if self.quant.bits <= 8 else codes


def arranged(eps: Tensor, shape: tuple[int, ...], index: tuple[Tensor, ...]) -> Array:
    """The noise of each element of a weight: [L, 1, *shape]."""
    flat = eps.data.reshape(*eps.data.shape[:2], eps.type.size)
    taken = flat if not index else flat[..., index[0].data.reshape(-1)]
    return taken.reshape(*flat.shape[:2], *shape)


def _check_count(inputs: tuple[TensorType, ...], count: int) -> None:
    if len(inputs) not in (count, count + 1):
        raise ValueError(f"takes {count} inputs, and perhaps an index, not {len(inputs)}")


def _check_rounding(quant: QuantParams) -> None:
    """ValueError unless the clip of a float32 sum leaves codes of `quant`."""
    for zero in {*quant.zero_point}:
        for end in (quant.low, quant.high):
            if abs(end - zero) > _LARGEST_CODE or float(np.float32(end - zero)) != end - zero:
                raise ValueError(f"a float32 sum cannot be clipped to {quant.low}..{quant.high}")


def _check_noise(inputs: tuple[TensorType, ...], index: tuple[TensorType, ...]) -> None:
    mu, sigma, eps = inputs[:3]
    expect_shape("sigma", sigma, mu.shape)
    if eps.axes != PER_SAMPLE:
        raise ValueError(f"the noise is {eps}, which does not vary with the sample alone")
    if not index and eps.size != mu.size:
        raise ValueError(f"the noise {eps} does not fit the weight {mu}")
    for entry in index:
        if entry.dtype is not DType.I32 or entry.shape != mu.shape or entry.axes:
            raise ValueError(f"the index of the noise is {entry}")
