"""3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3), exact in integers.

    Y = A' [ (G g G') * (B' d B) ] A      (Lavin and Gray, "Fast algorithms for convolutional
                                           neural networks", 2015, section 4)

A 2x2 tile of outputs takes 16 products for each pair of channels, not 36. B has only 0, 1 and -1:
what becomes of a 4x4 patch d of codes fits into int16. G has halves: 2G is taken, so that the
weights become integers in int16 and the sums four times what they should be, exactly.

    for each `tiles` tiles of the block's images, those of one sample where something is sampled:
        spread: d -> 16 numbers for each tile and channel            v [16][tiles][channels]  int16
        for each panel of 16 output channels:
            spread_weights: g -> 16 numbers for each channel         u [16][channels / 2][16][2]
            for each of the 16: the microkernel on int16 pairs       m [16][tiles][16]        int32
            gather: m -> 2x2 outputs, requantised

The weights lie as for the direct form, in bytes: transformed they would be 3.6 times as large, and
take longer to read from memory than to make.

It pays where a product of int16 pairs takes no more instructions than one of four bytes: with AVX2,
not with a dot product.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from llvmlite import ir
from numba import types

from qbnnc.runtime.instructions import Winograd
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.microkernel import Shape, tile
from qbnnc.runtime.kernels.rounding import bounds
from qbnnc.runtime.kernels.vectors import (
    F32,
    I8,
    I16,
    I32,
    I64,
    LANES,
    counted,
    internal_function,
    jitted,
    load,
    rounded,
    shuffle,
    splat,
    splat_constant,
    store,
    times,
)
from qbnnc.runtime.packing import FOURS, PANEL
from qbnnc.runtime.program import Place, columns_of

W = columns_of(Winograd)
_NUMBERS = 16  # of a transformed tile
_WIDTH = 2 * LANES  # channels that are spread at a time
_APART = 64
_CONSTANT, _SAMPLE = int(Place.CONSTANT), int(Place.SAMPLE)

words_6x16, words_4x16, words_1x16 = (
    tile(Isa.AVX2, Shape(m, 2, sums=True, words=True)) for m in (6, 4, 1)
)


def spread_pitch(tiles: int, channels: int) -> int:
    """Bytes from one number of v to the next: no power of 2, or all would fall into one set."""
    return 2 * tiles * channels + _APART


def _u_pitch(channels: int) -> int:
    return 2 * PANEL * channels + _APART


def scratch_bytes(tiles: int, channels: int, filters: int) -> int:
    """The scratch room: addresses, a patch, v, m, u, and where outputs go that there are not."""
    of_numbers = spread_pitch(tiles, channels) + 4 * tiles * PANEL + _APART + _u_pitch(channels)
    return 48 * tiles + 16 * channels + _NUMBERS * of_numbers + filters


def define_spread(module: ir.Module, name: str) -> ir.Function:
    """(x, line, pixel, v, pitch, count): B' d B, B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].

    Of 4x4 patches of u8 at x, line and pixel bytes apart, of `count` times 16 channels; number k of
    each goes to v + k * pitch as i16.
    """
    function = internal_function(module, name, [I64] * 6, "x line pixel v pitch count".split())
    x, line, pixel, v, pitch, count = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    bytes_, words = ir.VectorType(I8, _WIDTH), ir.VectorType(I16, _WIDTH)

    def transformed(d: list[ir.Value]) -> list[ir.Value]:
        return [
            build.sub(d[0], d[2]),
            build.add(d[1], d[2]),
            build.sub(d[2], d[1]),
            build.sub(d[1], d[3]),
        ]

    with counted(build, count) as at:
        start, columns = build.add(x, times(build, at, _WIDTH)), []
        for c in range(4):
            first = build.add(start, times(build, pixel, c))
            places = [build.add(first, times(build, line, r)) for r in range(4)]
            columns.append(transformed([build.zext(load(build, p, bytes_), words) for p in places]))
        target = build.add(v, times(build, at, 2 * _WIDTH))
        for r in range(4):
            for c, number in enumerate(transformed([column[r] for column in columns])):
                store(build, number, build.add(target, times(build, pitch, 4 * r + c)))
    build.ret_void()
    return function


def define_spread_weights(module: ir.Module, name: str) -> ir.Function:
    """(w, step, u, pitch, fours): (2G) g (2G)', 2G = [2 0 0; 1 1 1; 1 -1 1; 0 0 2].

    Of a panel of weights i8 [9][fours][16][4], whose places are `step` bytes apart; number k goes
    to u + k * pitch as i16 [2 * fours][16][2].
    """
    function = internal_function(module, name, [I64] * 5, "w step u pitch fours".split())
    w, step, u, pitch, fours = function.args
    build = ir.IRBuilder(function.append_basic_block("entry"))
    half = PANEL // 2
    bytes_, words = ir.VectorType(I8, half * FOURS), ir.VectorType(I16, 2 * half)
    zeros = splat_constant(I8, half * FOURS, 0)

    def widened(fours: ir.Value, pair: int) -> ir.Value:
        """Bytes 2 pair and 2 pair + 1 of each four, first as the upper bytes of its two words."""
        lanes = [i for n in range(half) for k in range(2) for i in (32, FOURS * n + 2 * pair + k)]
        upper = build.bitcast(shuffle(build, fours, zeros, lanes), words)
        return build.ashr(upper, splat_constant(I16, 2 * half, 8))

    def transformed(g: list[ir.Value]) -> list[ir.Value]:
        ends = build.add(g[0], g[2])
        twice = [build.add(g[i], g[i]) for i in (0, 2)]
        return [twice[0], build.add(ends, g[1]), build.sub(ends, g[1]), twice[1]]

    with counted(build, fours) as at:
        start, target = build.add(w, times(build, at, 64)), build.add(u, times(build, at, 128))
        for part, pair in product(range(2), range(2)):
            columns = []
            for x in range(3):
                places = [build.add(start, times(build, step, 3 * y + x)) for y in range(3)]
                loaded = [load(build, p, bytes_, half * FOURS * part) for p in places]
                columns.append(transformed([widened(v, pair) for v in loaded]))
            for r in range(4):
                for c, number in enumerate(transformed([column[r] for column in columns])):
                    place = build.add(target, times(build, pitch, 4 * r + c))
                    store(build, number, place, 64 * pair + 32 * part)
    build.ret_void()
    return function


def define_gather(module: ir.Module, name: str) -> ir.Function:
    """(m, pitch, bias, factor, arena, outs, channel, zero, low, high): A' m A / 4, requantised,
    A' = [1 1 1 0; 0 1 -1 -1].

    Of 16 channels of a tile, whose number k is i32 at m + k * pitch, to codes at the four places
    outs[2y + x] + channel.
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
                code = build.add(rounded(build, real, lowest, highest), zeros)
                place = build.add(load(build, outs, I64, 8 * (2 * y + x)), channel)
                target = build.add(arena, place)
                store(build, build.trunc(code, ir.VectorType(I8, LANES)), target, LANES * half)
    build.ret_void()
    return function


spread = jitted("qbnnc_winograd_spread", [types.int64] * 6, define_spread)
spread_weights = jitted("qbnnc_winograd_weights", [types.int64] * 5, define_spread_weights)
gather = jitted(
    "qbnnc_winograd_gather",
    [types.int64] * 7 + [types.int32, types.float32, types.float32],
    define_gather,
)


@kernel
def winograd(row, context, arena, constants):
    """All images of a block, a number of tiles at a time; those of a sample share its weights."""
    most, channels, scratch = row[W.tiles], row[W.depth], row[W.scratch]
    across = (row[W.out_width] + 1) // 2
    each = across * ((row[W.out_height] + 1) // 2)
    v_at = arena[scratch : scratch + 8 * most].view(np.int64)
    m_at = arena[scratch + 8 * most : scratch + 16 * most].view(np.int64)
    outs = arena[scratch + 16 * most : scratch + 48 * most].view(np.int64)
    patch = scratch + 48 * most
    v = patch + 16 * channels
    m = v + _NUMBERS * row[W.pitch]
    for t in range(most):
        v_at[t] = v + 2 * channels * t
        m_at[t] = m + 4 * PANEL * t
    u_pitch = 2 * PANEL * channels + _APART
    u = m + _NUMBERS * (4 * PANEL * most + _APART)
    sampled = row[W.weights + 2] == _SAMPLE or row[W.bias + 2] == _SAMPLE
    shares = context[CONTEXT.SAMPLES] if sampled else 1
    tiles = context[CONTEXT.SAMPLES] * context[CONTEXT.ROWS] * each // shares
    for share in range(shares):
        weights = address(row, W.weights, context, arena, constants, share)
        bias = address(row, W.bias, context, arena, constants, share)
        for first in range(share * tiles, (share + 1) * tiles, most):
            count = min(most, (share + 1) * tiles - first)
            for t in range(count):
                image = (first + t) // each
                y = (first + t - image * each) // across
                x = first + t - image * each - y * across
                spread_tile(row, context, arena, image, 2 * y, 2 * x, patch, v_at[t])
                place_outputs(row, context, outs[4 * t : 4 * t + 4], image, 2 * y, 2 * x)
            for panel in range(0, row[W.filters], PANEL):
                of_panel = weights + 9 * channels * panel
                of_u = arena.ctypes.data + u
                spread_weights(of_panel, PANEL * channels, of_u, u_pitch, channels // FOURS)
                multiply_panel(row, arena, constants, of_u, count)
                gather_panel(row, arena, constants, bias + 4 * panel, panel, count, m)


@kernel
def address(row, column, context, arena, constants, share):
    """Of a constant, or of what one sample of the block has of a buffer."""
    base, sample_step, _ = locate(row, column, context)
    memory = constants if row[column + 2] == _CONSTANT else arena
    return memory.ctypes.data + base + share * sample_step


@kernel
def spread_tile(row, context, arena, image, y, x, patch, v):
    """One tile of the outputs, whose first is (y, x); a patch that leaves the image is copied."""
    base, sample_step, row_step = locate(row, W.input, context)
    sample = image // context[CONTEXT.ROWS]
    base += sample * sample_step + (image - sample * context[CONTEXT.ROWS]) * row_step
    height, width, pixel = row[W.height], row[W.width], row[W.depth]
    top, left, a = y - row[W.top], x - row[W.left], arena.ctypes.data
    pitch, count = row[W.pitch], pixel // _WIDTH
    if top >= 0 and left >= 0 and top + 4 <= height and left + 4 <= width:
        start = a + base + (top * width + left) * pixel
        spread(start, width * pixel, pixel, a + v, pitch, count)
        return
    arena[patch : patch + 16 * pixel] = np.uint8(row[W.pad_code])
    before, after = max(0, -left), min(4, width - left)
    if after > before:
        for r in range(max(0, -top), min(4, height - top)):
            source = base + ((top + r) * width + left + before) * pixel
            target = patch + (4 * r + before) * pixel
            for i in range((after - before) * pixel):
                arena[target + i] = arena[source + i]
    spread(a + patch, 4 * pixel, pixel, a + v, pitch, count)


@kernel
def place_outputs(row, context, outs, image, y, x):
    """Where the four outputs of a tile begin; those beyond the last row or column: in scratch."""
    base, sample_step, row_step = locate(row, W.output, context)
    sample = image // context[CONTEXT.ROWS]
    base += sample * sample_step + (image - sample * context[CONTEXT.ROWS]) * row_step
    height, width, filters = row[W.out_height], row[W.out_width], row[W.filters]
    nowhere = row[W.scratch] + row[W.nowhere]
    for k in range(4):
        i, j = y + k // 2, x + k % 2
        inside = i < height and j < width
        outs[k] = base + (i * width + j) * filters if inside else nowhere


@kernel
def multiply_panel(row, arena, constants, u, count):
    """m of 16 output channels, whose transformed weights are at u."""
    tiles, pairs = row[W.tiles], row[W.depth] // 2
    a, c = arena.ctypes.data, constants.ctypes.data
    x, o = a + row[W.scratch], a + row[W.scratch] + 8 * tiles
    none, pitch = c + row[W.none], 4 * PANEL * tiles + _APART
    zero, real = np.int32(0), np.float32(0)
    for number in range(_NUMBERS):
        place, to = c + row[W.numbers] + 4 * number, number * pitch
        w = u + number * (4 * PANEL * pairs + _APART)
        i = 0
        while i < count:
            p, q = x + 8 * i, o + 8 * i
            if count - i >= 6:
                words_6x16(a, p, place, 1, pairs, w, none, none, q, to, zero, real, real)
                i += 6
            elif count - i >= 4:
                words_4x16(a, p, place, 1, pairs, w, none, none, q, to, zero, real, real)
                i += 4
            else:
                words_1x16(a, p, place, 1, pairs, w, none, none, q, to, zero, real, real)
                i += 1


@kernel
def gather_panel(row, arena, constants, bias, panel, count, m):
    low, high, zero = bounds(row[W.low], row[W.high], row[W.zero])
    a, c, tiles = arena.ctypes.data, constants.ctypes.data, row[W.tiles]
    factor = c + row[W.factor] + 4 * panel
    outs, pitch = a + row[W.scratch] + 16 * tiles, 4 * PANEL * tiles + _APART
    for t in range(count):
        start = a + m + 4 * PANEL * t
        gather(start, pitch, bias, factor, a, outs + 32 * t, panel, zero, low, high)
