"""The integer arithmetic of docs/semantics.md, sections 1 to 3: the two roundings there are.

Everything is float32 with one IEEE rounding an operation, in the order written: no fused
multiply-add, no float64 in between. Round half to even.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.types import Array

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
IntLike = int | np.int32 | Int32
FloatLike = np.float32 | Float32


def f32(value: float) -> float:
    """`value` rounded once to float32, as a Python float."""
    return float(np.float32(value))


def requantize(acc: Int32, multiplier: Float32, zero_point: IntLike, low: int, high: int) -> Int32:
    """Z + rint(clip(f32(acc) * m, low - Z, high - Z)): clipped BEFORE it is rounded.

    >>> half = np.float32([0.5])
    >>> requantize(np.int32([1, 3, 5, -1, 999]), half, 0, 0, 127).tolist()
    [0, 2, 2, 0, 127]
    """
    return rounded(acc.astype(np.float32) * multiplier, zero_point, low, high)


def quantize(real: Float32, scale: FloatLike, zero_point: IntLike, low: int, high: int) -> Int32:
    """Z + rint(clip(real / S, low - Z, high - Z)), a true division; NaN gives `low`.

    >>> quantize(np.float32([0.05, 0.15, np.nan]), np.float32(0.1), 3, 0, 7).tolist()
    [3, 5, 0]
    """
    with np.errstate(over="ignore", invalid="ignore"):  # inf is clipped
        return rounded(real / scale, zero_point, low, high)


def rounded(codes: Float32, zero_point: IntLike, low: int, high: int) -> Int32:
    """Z + rint(clip(codes, low - Z, high - Z)) of numbers relative to Z; NaN gives `low`."""
    zero = np.asarray(zero_point, np.int32)
    lowest = (low - zero).astype(np.float32)
    clipped = np.clip(codes, lowest, (high - zero).astype(np.float32))
    known = np.where(np.isnan(clipped), lowest, clipped)
    whole: Int32 = np.rint(known).astype(np.int32) + zero
    return whole


def dequantize(codes: Array, scale: FloatLike, zero_point: IntLike) -> Float32:
    """f32(code - Z) * S."""
    real: Float32 = (codes.astype(np.int32) - zero_point).astype(np.float32) * scale
    return real
