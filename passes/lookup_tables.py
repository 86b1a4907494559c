"""Functions of one value as tables over its codes (docs/semantics.md, section 4)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qbnnc.ir.arithmetic import dequantize, quantize
from qbnnc.ir.types import Array, QuantParams


def real_table(codes: QuantParams, function: Callable[[Array], Array]) -> Array:
    """f(dequant(q)) for every code q from 0 to the greatest: f32 [high + 1].

    A code where f is NaN or infinite gets the value of the nearest code where it is neither.
    """
    values = _values(codes, function)
    defined = np.flatnonzero(np.isfinite(values))
    if len(defined) in (0, len(values)):
        return values
    distances = np.abs(np.arange(len(values))[:, None] - defined)
    nearest: Array = values[defined[distances.argmin(axis=1)]]
    return nearest


def table(
    codes: QuantParams,
    result: QuantParams,
    function: Callable[[Array], Array],
    low: int,
    high: int,
) -> Array:
    """quant(f(dequant(q))) for every code q, clamped to low..high: u8 [high + 1]."""
    scale, zero = result.per_tensor
    real = _values(codes, function)
    return quantize(real, np.float32(scale), zero, low, high).astype(np.uint8)


def _values(codes: QuantParams, function: Callable[[Array], Array]) -> Array:
    scale, zero = codes.per_tensor
    every = np.arange(codes.high + 1, dtype=np.uint8)
    return function(dequantize(every, np.float32(scale), zero)).astype(np.float32)
