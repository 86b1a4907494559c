"""Rules of every type: its shape is within the limits, and its codes fit its element type."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite

import numpy as np

from qbnnc.ir.types import CONSTANT, DType, QuantParams, TensorType
from qbnnc.support import limits

_SMALLEST = float(np.finfo(np.float32).smallest_normal)
_LARGEST = float(np.finfo(np.float32).max)
_CODES = {DType.U8: (0, 255), DType.I8: (-128, 127), DType.I32: (-(2**31), 2**31 - 1)}
_GRID = _CODES[DType.I32]  # for simulated codes, which are float32 numbers


def check_type(type: TensorType, elements: limits.Limit = limits.ELEMENTS) -> None:
    """Raise ValueError unless a value may have this type.

    1. The shape is within the limits.
    2. Codes fit the element type; u8 codes are 0..high, under one scale and zero point.
    3. int32 codes have the zero point 0.
    4. One scale a channel is one for each index of an axis of the shape.
    """
    limits.check_shape(type.shape, elements)
    if (quant := type.quant) is None:
        return
    check_quant(quant)
    lowest, highest = _CODES.get(type.dtype, _GRID)
    if not lowest <= quant.low <= quant.high <= highest:
        raise ValueError(f"{type.dtype.value} does not hold codes {codes(quant)}")
    if type.dtype is DType.U8 and (quant.axis is not None or quant.low != 0):
        raise ValueError(f"u8 codes begin at 0 and have one scale, not {quant}")
    if type.dtype is DType.I32 and any(quant.zero_point):
        raise ValueError("int32 codes have the zero point 0")
    if quant.axis is not None and not 0 <= quant.axis < len(type.shape):
        raise ValueError(f"there is no axis {quant.axis} of {list(type.shape)} to have scales")
    if quant.axis is not None and len(quant.scale) != type.shape[quant.axis]:
        count, extent = len(quant.scale), type.shape[quant.axis]
        raise ValueError(f"{count} scales do not fit an axis of {extent}")


@lru_cache(maxsize=1024)
def check_quant(quant: QuantParams) -> None:
    """ValueError unless scales are positive, normal float32 and zero points are codes."""
    check_scales(quant.scale)
    if not quant.low <= quant.high:
        raise ValueError(f"there are no codes {codes(quant)}")
    if not quant.low <= min(quant.zero_point) <= max(quant.zero_point) <= quant.high:
        raise ValueError(f"a zero point is outside {codes(quant)}")


def check_scales(scales: tuple[float, ...]) -> None:
    """ValueError unless there are scales, and all are positive, normal float32 numbers."""
    limits.SCALES.check(len(scales))
    for scale in scales:
        if not (_SMALLEST <= scale <= _LARGEST and float(np.float32(scale)) == scale):
            raise ValueError(
                f"the scale {scale:g} is not a normal float32: the values here are too small or "
                "too large to quantise; rescale the layer"
            )


def check_float32(what: str, *numbers: float) -> None:
    """ValueError unless each number is finite, and stays so as float32."""
    for number in numbers:
        if not isfinite(number) or abs(number) > _LARGEST:
            raise ValueError(f"{what} {number:g} is no finite float32")


def check_finite(what: str, *numbers: float) -> None:
    """ValueError unless each number is finite."""
    for number in numbers:
        if not isfinite(number):
            raise ValueError(f"{what} {number:g} is not finite")


def check_bounds_within(low: int, high: int, quant: QuantParams) -> None:
    """ValueError unless low..high are codes of `quant`."""
    if not quant.low <= low <= high <= quant.high:
        raise ValueError(f"{limits.shown(low)}..{limits.shown(high)} is outside {codes(quant)}")


def check_constant_type(type: TensorType) -> None:
    """ValueError unless a constant may have this type."""
    if type.axes != CONSTANT:
        raise ValueError(f"a constant of type {type} would vary")
    if type.dtype is DType.F32 and type.quant is not None:
        raise ValueError("a float32 constant has no codes")
    check_type(type, limits.CONSTANT_ELEMENTS)


def codes(quant: QuantParams) -> str:
    """ "0..127" """
    return f"{limits.shown(quant.low)}..{limits.shown(quant.high)}"
