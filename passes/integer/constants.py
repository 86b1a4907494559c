"""Constants of integer ops: codes, multipliers, bounds, and tables of functions.

The sections named are those of docs/semantics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from qbnnc.ir.arithmetic import dequantize, f32, quantize
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import AveragePool2d, Clamp, Normalize, NormalizeInteger
from qbnnc.ir.ops.normalize import LEAST_EPS, LEAST_FLOOR, MOST_EPS, MOST_FLOOR, group_size
from qbnnc.ir.scales import multiplier
from qbnnc.ir.types import Array, QuantParams
from qbnnc.ir.weights import chunks
from qbnnc.support.errors import CompileError


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


def quant_of(value: Value) -> QuantParams:
    """Scale and zero point of a value; CompileError if it is no value of codes."""
    if value.type.quant is None:
        raise CompileError("has no codes", value.name)
    return value.type.quant


def clamp_codes(clamp: Clamp | None, quant: QuantParams) -> tuple[int, int]:
    """The codes of the clamp's bounds; the ends of the range where there is no clamp."""
    if clamp is None:
        return quant.low, quant.high
    scale, zero = quant.per_tensor
    bounds = [np.nan if b is None else b for b in (clamp.low, clamp.high)]
    real = np.array(bounds, np.float32)
    codes = quantize(real, np.float32(scale), zero, quant.low, quant.high)
    low = quant.low if clamp.low is None else int(codes[0])
    return low, quant.high if clamp.high is None else int(codes[1])


def integer_norm(
    norm: Normalize, x: Value, quant: QuantParams, ends: tuple[int, int]
) -> NormalizeInteger:
    """The integer form of a norm of codes x (section 4): its numbers in units of F*S_x.

    A number beyond the limits of the op is the limit: no code depends on it there.
    """
    unit = group_size(x.type.shape, norm.axes) / quant_of(x).per_tensor[0]
    eps = norm.eps * unit**2
    return NormalizeInteger(
        norm.axes,
        0.0 if eps < LEAST_EPS else min(eps, MOST_EPS),
        min(norm.outer_eps * unit, MOST_FLOOR),
        min(max(norm.floor * unit, LEAST_FLOOR), MOST_FLOOR),
        quant,
        *ends,
        norm.centred,
    )


def layer_multiplier(layer: Node, acc: Value, quant: QuantParams) -> Array:
    """m, f32, shaped to broadcast against the accumulators (sections 2 and 4)."""
    scale = quant_of(acc).scale
    if isinstance(layer.op, AveragePool2d):
        height, width = layer.inputs[0].type.shape[1:]
        counts = layer.op.counts(height, width).astype(np.float32)
        m: Array = np.float32(scale[0]) / (np.float32(quant.scale[0]) * counts)
    else:
        m = multiplier(scale, quant.scale[0])
    if not (np.isfinite(m) & (m >= np.finfo(np.float32).smallest_normal)).all():
        raise CompileError(
            "the layer's scales are too far apart for a float32 multiplier",
            layer.loc,
            remedy="rescale its weights",
        )
    shape = (1, *m.shape) if isinstance(layer.op, AveragePool2d) else (-1,)
    return m.reshape(*shape, *[1] * (len(acc.type.shape) - len(shape)))


def parameter_codes(real: Array, quant: QuantParams) -> Array:
    """The codes of a weight (i8), a bias (i32: more than 8 bits) or an activation (u8: from 0)."""
    scale, zero = quant.scale_array(real.ndim), quant.zero_point_array(real.ndim)
    signed = np.int8 if quant.bits <= 8 else np.int32
    codes = np.empty(real.shape, np.uint8 if quant.low == 0 else signed)
    for rows, _ in chunks(len(real), 1, real[0].size):
        each = slice(None) if len(scale) == 1 else rows
        codes[rows] = quantize(real[rows], scale[each], zero[each], quant.low, quant.high)
    return codes


def preprocessing(
    affine: Node, constants: Mapping[Value, Array], quant: QuantParams
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Offsets and scales with which quant(x*a + b, S) is quant(x - (-b/a), S/a).

    They are computed in float64 and rounded once each.
    """
    a, b = (constants[v].astype(np.float64).reshape(-1) for v in affine.inputs[1:])
    offset, scale = -b / a + 0.0, quant.per_tensor[0] / a
    return tuple(map(f32, offset)), tuple(map(f32, scale))
