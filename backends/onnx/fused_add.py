"""Scales with which onnxruntime's addition of codes gives the codes of a residual add.

DequantizeLinear, Add and QuantizeLinear become one kernel on bytes, QLinearAdd. It rounds in an
order of its own, which depends on the CPU: with or without fused multiply-add on x86, in fixed
point on ARM. A byte has few codes, so all pairs of them can be tried. The kernel is given ratios
S_a/S_y and S_b/S_y that are moved by some millionths, until no pair lies near a tie. Then every
way of rounding is tried on every pair. Scales that are powers of two have exact ties, and no such
ratios.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import dequantize, quantize
from qbnnc.ir.ops import AddQuantized
from qbnnc.ir.types import Array, QuantParams

Float64 = NDArray[np.float64]

_LEAST, _MOST = 2.0**-12, 2.0**7  # of a ratio: the fixed point reaches a little further
_POINT = 21  # bits of the fixed point below the leading one of the greater ratio
_REACH = 2.0**-17  # how far a ratio is moved, at most
_NEAR = 2.0**-6  # of a tie: pairs that are farther away stay there within the reach
_STEPS, _ROUNDS = 31, 9  # the search looks at a grid, then at finer ones around the best


@dataclass(frozen=True, slots=True)
class Pairs:
    """All pairs of two inputs' codes: `a` [A, 1] and `b` [1, B], less their zero points.

    `wanted` [A, B] are the result's codes, which have the `zero` point and the clamp `low`..`high`.
    """

    a: Array
    b: Array
    zeros: tuple[int, int]
    wanted: Array
    zero: int
    low: int
    high: int

    @staticmethod
    def of(op: AddQuantized, x: QuantParams, y: QuantParams) -> Pairs:
        """The pairs of codes of `x` and `y`, and the sums that the semantics wants."""
        codes = [np.arange(q.low, q.high + 1, dtype=np.int32) for q in (x, y)]
        (scale_a, zero_a), (scale_b, zero_b) = x.per_tensor, y.per_tensor
        real_a = dequantize(codes[0], np.float32(scale_a), zero_a)
        real_b = dequantize(codes[1], np.float32(scale_b), zero_b)
        scale, zero = op.quant.per_tensor
        wanted = quantize(real_a[:, None] + real_b, np.float32(scale), zero, op.low, op.high)
        a, b = codes[0][:, None] - zero_a, codes[1][None] - zero_b
        return Pairs(a, b, (zero_a, zero_b), wanted, zero, op.low, op.high)

    def are_kept(self, codes: Array) -> bool:
        """Whether a kernel's codes, before they saturate and are clamped, are those wanted."""
        return np.array_equal(np.clip(codes, self.low, self.high), self.wanted)


def fused_ratios(op: AddQuantized, x: QuantParams, y: QuantParams) -> tuple[float, float] | None:
    """Ratios of scales with which the kernel gives the right code for every pair, or None.

    They are exact in float32, and in the fixed point of ARM's kernel.
    """
    (scale_a, _), (scale_b, _), (scale, _) = (q.per_tensor for q in (x, y, op.quant))
    exact = np.array([scale_a / scale, scale_b / scale])
    if not _LEAST <= exact.min() <= exact.max() <= _MOST:
        return None
    pairs = Pairs.of(op, x, y)
    a, b = _far_from_ties(pairs, exact)
    kept = all(pairs.are_kept(codes) for codes in kernels(pairs, a, b))
    return (a, b) if kept else None


def _far_from_ties(pairs: Pairs, exact: Float64) -> tuple[float, float]:
    """Ratios near the exact ones whose least distance of any pair from a tie is greatest."""
    distances, slopes = _near_ties(pairs, exact)

    def best(moves: Float64) -> Float64:
        room = (distances + moves @ slopes.T).min(axis=1, initial=_NEAR)
        found: Float64 = moves[room.argmax()]
        return found

    move, width = np.zeros(2), _REACH
    for _ in range(_ROUNDS):
        move, width = best(move + _grid(np.linspace(-width, width, _STEPS))), width / 4
    unit = 2.0 ** -_shift(exact.max())
    whole = np.rint((exact + move) / unit) + _grid(np.arange(-2.0, 3.0))
    a, b = exact + best(whole * unit - exact)
    return float(a), float(b)


def _near_ties(pairs: Pairs, exact: Float64) -> tuple[Float64, Float64]:
    """Distances of pairs from the ties above and below them, and their slopes in the ratios.

    [N], and [N, 2]. A tie beyond the clamp has no code on its other side.
    """
    step = pairs.a * exact[0] + pairs.b * exact[1] - (pairs.wanted - pairs.zero)
    slopes = np.stack(np.broadcast_arrays(pairs.a, pairs.b), axis=-1).astype(np.float64)
    above = (pairs.wanted < pairs.high) & (0.5 - step < _NEAR)
    below = (pairs.wanted > pairs.low) & (0.5 + step < _NEAR)
    distances = np.concatenate([0.5 - step[above], 0.5 + step[below]])
    return distances, np.concatenate([-slopes[above], slopes[below]])


def _grid(numbers: Float64) -> Float64:
    """All pairs of the numbers, [N, 2], small ones first: they win where nothing else decides."""
    points = np.stack(np.meshgrid(numbers, numbers), axis=-1).reshape(-1, 2)
    ordered: Float64 = points[np.argsort(np.abs(points).sum(axis=1), kind="stable")]
    return ordered


def _shift(greater: float) -> int:
    return _POINT - math.floor(math.log2(greater))


def kernels(pairs: Pairs, a: float, b: float) -> Iterator[Array]:
    """Codes of all pairs as the kernels of several CPUs compute them, not saturated."""
    yield _fixed_point(pairs, a, b)
    for fused in (False, True):
        real = _multiply_add(pairs.a, a, np.float32(b) * pairs.b.astype(np.float32), fused)
        yield np.rint(real + np.float32(pairs.zero))  # QLinearAdd without vectors
        yield np.rint(real) + pairs.zero  # the three nodes, where they are not fused
    code_a, code_b = pairs.a + pairs.zeros[0], pairs.b + pairs.zeros[1]
    for start, first, last in product(_starts(pairs, a, b), (False, True), (False, True)):
        yield np.rint(_multiply_add(code_b, b, _multiply_add(code_a, a, start, first), last))
        yield np.rint(_multiply_add(code_a, a, _multiply_add(code_b, b, start, first), last))


def _fixed_point(pairs: Pairs, a: float, b: float) -> Array:
    """ARM: a rounding shift, halves away from zero."""
    shift = _shift(max(a, b))
    factors = (int(np.rint(ratio * 2.0**shift)) for ratio in (a, b))
    total = sum(x.astype(np.int64) * f for x, f in zip((pairs.a, pairs.b), factors, strict=True))
    total = np.asarray(total)
    rounded: Array = (total - (total < 0) + (1 << (shift - 1))) >> shift
    return rounded + pairs.zero


def _starts(pairs: Pairs, a: float, b: float) -> set[np.float32]:
    """Z_y - (a*Z_a + b*Z_b), as compilers may round it: x86 and POWER add products to it."""
    x, y = (np.array(zero) for zero in pairs.zeros)
    products = np.float32(a) * np.float32(x), np.float32(b) * np.float32(y)
    sums = {
        products[0] + products[1],
        np.float32(_multiply_add(x, a, products[1], True)),
        np.float32(_multiply_add(y, b, products[0], True)),
    }
    return {np.float32(pairs.zero) - total for total in sums}


def _multiply_add(x: Array, factor: float, addend: Array | np.float32, fused: bool) -> Array:
    """f32(f32(x * factor) + addend); `fused`: without the inner rounding, as float64 holds it."""
    exact = (x * factor).astype(np.float64 if fused else np.float32)
    total: Array = np.add(exact, addend).astype(np.float32)
    return total
