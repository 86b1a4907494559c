"""Scales and zero points: from ranges, weights and bits, and the multipliers between scales.

Source: docs/semantics.md, sections 1, 3 and 6.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import f32
from qbnnc.ir.types import EPS_QUANT, Array, QuantParams

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

STATE_HIGH = 2**15 - 1
"""Codes of a carried state are -STATE_HIGH..STATE_HIGH, int32, with a zero point of 0."""

_STATE_ROOM = 2.0  # unlike rows and finer steps may carry more than the calibration rows did
LEAST_SCALE = float(np.finfo(np.float32).tiny)


def accumulator_scale(input_scale: float, weight_scale: tuple[float, ...]) -> tuple[float, ...]:
    """f32(S_x * S_w) for each output channel (or the one scale of a per-tensor weight)."""
    return tuple(float(np.float32(input_scale) * np.float32(s)) for s in weight_scale)


def multiplier(accumulator: tuple[float, ...], output_scale: float) -> Float32:
    """m = f32(f32(S_x * S_w) / S_y), in this order; shape [channels] or [1]."""
    m: Float32 = np.asarray(accumulator, np.float32) / np.float32(output_scale)
    return m


def bias_quant(scale: tuple[float, ...]) -> QuantParams:
    """int32 codes of the accumulators' scale, one or one a channel, zero point 0.

    The least scale of a weight (see `weight_quant`) keeps a bias within 2^23 codes.
    """
    axis = None if len(scale) == 1 else 0
    return QuantParams(scale, (0,) * len(scale), -(2**30), 2**30, axis)


def power_of_two(scale: float) -> float:
    """The least power of two that is not below a positive scale.

    >>> power_of_two(0.3), power_of_two(0.25)
    (0.5, 0.25)
    """
    mantissa, exponent = math.frexp(scale)
    return math.ldexp(1.0, exponent - (mantissa == 0.5))


def activation_quant(low: float, high: float, bits: int, *, pow2: bool = False) -> QuantParams:
    """The quantiser of the range [low, high], widened to contain 0 (section 1): codes 0..2^n - 1.

    S = (b - a) / (2^n - 1) and Z = clamp(rint(-a / S), 0, 2^n - 1), in float64. S is rounded once:
    to float32, or with `pow2` up to a power of two. A range so small that S is no normal float32
    has S = 1, Z = 0.

    >>> str(activation_quant(-1.0, 1.0, 7))
    '<0.015748, z=64, 0..127>'
    """
    a, b, top = min(low, 0.0), max(high, 0.0), 2**bits - 1
    scale = (b - a) / top
    if scale < LEAST_SCALE:
        return QuantParams((1.0,), (0,), 0, top)
    scale = power_of_two(scale) if pow2 else scale
    zero_point = int(np.clip(np.rint(-a / scale), 0, top))
    return QuantParams((f32(scale),), (zero_point,), 0, top)


def state_quant(low: float, high: float, *, pow2: bool = False) -> QuantParams:
    """The quantiser of a carried state: 16 bits for twice the range that was observed.

    S = 2 max(-low, high) / (2^15 - 1) in float64, rounded once as that of an activation.

    >>> str(state_quant(-2.0, 1.0))
    '<0.000122074, z=0>'
    """
    scale = _STATE_ROOM * max(-low, high) / STATE_HIGH
    if scale < LEAST_SCALE:
        return QuantParams((1.0,), (0,), -STATE_HIGH, STATE_HIGH)
    scale = power_of_two(scale) if pow2 else scale
    return QuantParams((f32(scale),), (0,), -STATE_HIGH, STATE_HIGH)


def weight_quant(
    weight: Array,
    bits: int,
    least_scale: Array,
    *,
    symmetric: bool = True,
    channels: bool = True,
    pow2: bool = False,
) -> QuantParams:
    """The quantiser of a weight [N, ...], per channel of axis 0 or for the whole tensor.

    `least_scale` [N], float64: max(S_w, |b_j| / (S_x * 2^23)) keeps the bias code of channel j
    within 2^23, so that even a dead channel's bias fits. A scale below normal float32 becomes 1.
    """
    rows = weight.reshape(weight.shape[0], -1)
    if not channels:
        rows, least_scale = rows.reshape(1, -1), np.max(least_scale, keepdims=True)
    low, high = -(2 ** (bits - 1)) + symmetric, 2 ** (bits - 1) - 1
    a = np.minimum(rows.min(axis=1).astype(np.float64), 0.0)
    b = np.maximum(rows.max(axis=1).astype(np.float64), 0.0)
    range_scale = np.maximum(-a, b) / high if symmetric else (b - a) / (high - low)
    scale = np.maximum(range_scale, least_scale)
    scale[scale < LEAST_SCALE] = 1.0
    if pow2:
        scale = np.array([power_of_two(s) for s in scale.tolist()])
    zero = np.zeros(len(scale)) if symmetric else np.clip(np.rint(low - a / scale), low, high)
    return QuantParams(
        tuple(map(f32, scale)), tuple(map(int, zero)), low, high, 0 if channels else None
    )


def sampling_quants(
    mu: Array, sigma: Array, bits: int, *, channels: bool = True
) -> tuple[QuantParams, QuantParams]:
    """Quantisers of the mean and the standard deviation of a sampled weight [N, ...] (section 6).

    For each granule, with lim the largest code, S_mu0 = max|mu|/lim and S_sigma0 = max|sigma|/lim:

        R = clip(floor(S_mu0/(S_sigma0*S_eps)), 1, 65535)
        S_sigma = max(S_sigma0, S_mu0/(R*S_eps)),   S_mu = R*S_sigma*S_eps

    So S_mu is a whole number R of steps of sigma*eps.
    """
    lim, step = 2 ** (bits - 1) - 1, EPS_QUANT.scale[0]
    rows = (len(mu), -1) if channels else (1, -1)
    mean, deviation = (_largest(values.reshape(rows)) / lim for values in (mu, sigma))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.clip(np.floor(mean / (deviation * step)), 1, 65535)
    ratio = np.where(deviation == 0, np.where(mean == 0, 1, 65535), ratio)
    deviation = np.maximum(deviation, mean / (ratio * step))
    deviation[deviation == 0] = 1.0
    zero, axis = (0,) * len(ratio), 0 if channels else None
    return (
        QuantParams(tuple(map(f32, ratio * deviation * step)), zero, -lim, lim, axis),
        QuantParams(tuple(map(f32, deviation)), zero, -lim, lim, axis),
    )


def _largest(rows: Array) -> NDArray[np.float64]:
    """The largest |x| of each row, without a copy of the rows."""
    largest: NDArray[np.float64] = np.maximum(rows.max(axis=1), -rows.min(axis=1)).astype("f8")
    return largest


def sampling_ratio(mu: QuantParams, sigma: QuantParams) -> Int32:
    """R = S_mu/(S_sigma*S_eps) of each granule: the whole number, from the rounded scales."""
    steps = np.array(sigma.scale) * EPS_QUANT.scale[0]
    ratio: Int32 = np.rint(np.array(mu.scale) / steps).astype(np.int32)
    return ratio


def sampling_divisor(sigma: QuantParams, output: tuple[float, ...]) -> Float32:
    """r = f32(S_w/f32(S_sigma*S_eps)) of each granule."""
    step = np.array(sigma.scale, np.float32) * np.float32(EPS_QUANT.scale[0])
    r: Float32 = np.array(output, np.float32) / step
    return r
