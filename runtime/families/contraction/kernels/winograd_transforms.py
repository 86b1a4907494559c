"""The input, filter and output transform of Winograd's F(2x2, 3x3), as LLVM IR.

`winograd` says how a convolution uses them.
"""

from __future__ import annotations

from itertools import product

from llvmlite import ir
from numba import types

from qbnnc.runtime.families.contraction.scratch import TILE_PANEL as PANEL
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.jit import jitted
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I16,
    I32,
    I64,
    counted,
    internal_function,
    load,
    rounded,
    shuffle,
    splat,
    splat_constant,
    store,
    times,
)
from qbnnc.runtime.layout import K_BLOCK

LANES = Isa.AVX2.lanes  # of a vector of int32 or float32
WIDTH = 2 * LANES  # channels that are input_transform at a time


def define_input_transform(module: ir.Module, name: str) -> ir.Function:
    """Write B' d B, with B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].

    The arguments are `x line pixel v pitch count`. A 4x4 patch of u8 begins at x and has `count`
    times 16 channels. Its lines are `line` bytes apart, and its pixels are `pixel` bytes apart.
    Number k of each channel goes to v + k * pitch as i16.
    """
    function = internal_function(module, name, [I64] * 6, "x line pixel v pitch count".split())
    x, line, pixel, v, pitch, count = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    bytes_, words = ir.VectorType(I8, WIDTH), ir.VectorType(I16, WIDTH)

    def transformed(d: list[ir.Value]) -> list[ir.Value]:
        return [
            build.sub(d[0], d[2]),
            build.add(d[1], d[2]),
            build.sub(d[2], d[1]),
            build.sub(d[1], d[3]),
        ]

    with counted(build, count) as at:
        start, columns = build.add(x, times(build, at, WIDTH)), []
        for c in range(4):
            first = build.add(start, times(build, pixel, c))
            places = [build.add(first, times(build, line, r)) for r in range(4)]
            columns.append(transformed([build.zext(load(build, p, bytes_), words) for p in places]))
        target = build.add(v, times(build, at, 2 * WIDTH))
        for r in range(4):
            for c, number in enumerate(transformed([column[r] for column in columns])):
                store(build, number, build.add(target, times(build, pitch, 4 * r + c)))
    build.ret_void()
    return function


def define_filter_transform(module: ir.Module, name: str) -> ir.Function:
    """Write (2G) g (2G)', with 2G = [2 0 0; 1 1 1; 1 -1 1; 0 0 2].

    The arguments are `w step u pitch k_blocks`. A panel of weights is i8 [9][k_blocks][16][4], and
    its taps are `step` bytes apart. Number k goes to u + k * pitch as i16 [2 * k_blocks][16][2].
    """
    function = internal_function(module, name, [I64] * 5, "w step u pitch k_blocks".split())
    w, step, u, pitch, k_blocks = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    half = PANEL // 2
    bytes_, words = ir.VectorType(I8, half * K_BLOCK), ir.VectorType(I16, 2 * half)
    zeros = splat_constant(I8, half * K_BLOCK, 0)

    def widened(k_blocks: ir.Value, pair: int) -> ir.Value:
        """Widen bytes 2 pair and 2 pair + 1 of each four, by way of the upper bytes of words."""
        lanes = [i for n in range(half) for k in range(2) for i in (32, K_BLOCK * n + 2 * pair + k)]
        upper = build.bitcast(shuffle(build, k_blocks, zeros, lanes), words)
        return build.ashr(upper, splat_constant(I16, 2 * half, 8))

    def transformed(g: list[ir.Value]) -> list[ir.Value]:
        ends = build.add(g[0], g[2])
        twice = [build.add(g[i], g[i]) for i in (0, 2)]
        return [twice[0], build.add(ends, g[1]), build.sub(ends, g[1]), twice[1]]

    with counted(build, k_blocks) as at:
        start, target = build.add(w, times(build, at, 64)), build.add(u, times(build, at, 128))
        for part, pair in product(range(2), range(2)):
            columns = []
            for x in range(3):
                places = [build.add(start, times(build, step, 3 * y + x)) for y in range(3)]
                loaded = [load(build, p, bytes_, half * K_BLOCK * part) for p in places]
                columns.append(transformed([widened(v, pair) for v in loaded]))
            for r in range(4):
                for c, number in enumerate(transformed([column[r] for column in columns])):
                    place = build.add(target, times(build, pitch, 4 * r + c))
                    store(build, number, place, 64 * pair + 32 * part)
    build.ret_void()
    return function


def define_output_transform(module: ir.Module, name: str) -> ir.Function:
    """Write A' m A / 4, requantised, with A' = [1 1 1 0; 0 1 -1 -1].

    The arguments are `m pitch bias factor arena outs channel zero low high`. Number k of a tile's
    16 channels is i32 at m + k * pitch. The codes go to the four places outs[2y + x] + channel.
    """
    names = "m pitch bias factor arena outs channel zero low high".split()
    function = internal_function(module, name, [I64] * 7 + [I32, F32, F32], names)
    m, pitch, bias, factor, arena, outs, channel, zero, low, high = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    ints, floats = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
    zeros, lowest, highest = (splat(build, value, LANES) for value in (zero, low, high))
    two = splat_constant(I32, LANES, 2)

    def transformed(m: list[ir.Value]) -> list[ir.Value]:
        return [
            build.add(build.add(m[0], m[1]), m[2]),
            build.sub(build.sub(m[1], m[2]), m[3]),
        ]

    for half in range(PANEL // LANES):
        start, offset = build.add(m, I64(4 * LANES * half)), 4 * LANES * half
        columns = []
        for c in range(4):
            places = [build.add(start, times(build, pitch, 4 * r + c)) for r in range(4)]
            columns.append(transformed([load(build, place, ints) for place in places]))
        its_bias, its_factor = load(build, bias, ints, offset), load(build, factor, floats, offset)
        for y in range(2):
            for x, total in enumerate(transformed([column[y] for column in columns])):
                exact = build.add(build.ashr(total, two), its_bias)
                real = build.fmul(build.sitofp(exact, floats), its_factor)
                code = build.add(rounded(build, real, lowest, highest, Isa.AVX2), zeros)
                place = build.add(load(build, outs, I64, 8 * (2 * y + x)), channel)
                target = build.add(arena, place)
                store(build, build.trunc(code, ir.VectorType(I8, LANES)), target, LANES * half)
    build.ret_void()
    return function


input_transform = jitted(
    "qbnnc_winograd_input_transform", [types.int64] * 6, define_input_transform
)
filter_transform = jitted(
    "qbnnc_winograd_filter_transform", [types.int64] * 5, define_filter_transform
)
output_transform = jitted(
    "qbnnc_winograd_output_transform",
    [types.int64] * 7 + [types.int32, types.float32, types.float32],
    define_output_transform,
)
