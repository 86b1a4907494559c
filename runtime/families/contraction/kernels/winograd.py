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

import numpy as np

from qbnnc.runtime.families.contraction.instructions import Winograd
from qbnnc.runtime.families.contraction.kernels.microkernel import Shape, tile
from qbnnc.runtime.families.contraction.kernels.winograd_transforms import (
    WIDTH,
    gather,
    spread,
    spread_weights,
)
from qbnnc.runtime.families.table import Table
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds
from qbnnc.runtime.packing import FOURS, PANEL
from qbnnc.runtime.program import Instruction, Place, columns_of

KERNELS = Table[type[Instruction], Kernel]()
W = columns_of(Winograd)
_NUMBERS = 16  # of a transformed tile
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


@KERNELS.of(Winograd)
@kernel
def winograd(row, context, memory):
    """All images of a block, a number of tiles at a time; those of a sample share its weights."""
    arena, constants = memory.arena, memory.constants
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
    shares = context[CONTEXT.samples] if sampled else 1
    tiles = context[CONTEXT.samples] * context[CONTEXT.rows] * each // shares
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
                multiply_panel(row, arena, constants, of_u, u_pitch, count)
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
    sample = image // context[CONTEXT.rows]
    base += sample * sample_step + (image - sample * context[CONTEXT.rows]) * row_step
    height, width, pixel = row[W.height], row[W.width], row[W.depth]
    top, left, a = y - row[W.top], x - row[W.left], arena.ctypes.data
    pitch, count = row[W.pitch], pixel // WIDTH
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
    sample = image // context[CONTEXT.rows]
    base += sample * sample_step + (image - sample * context[CONTEXT.rows]) * row_step
    height, width, filters = row[W.out_height], row[W.out_width], row[W.filters]
    nowhere = row[W.scratch] + row[W.nowhere]
    for k in range(4):
        i, j = y + k // 2, x + k % 2
        inside = i < height and j < width
        outs[k] = base + (i * width + j) * filters if inside else nowhere


@kernel
def multiply_panel(row, arena, constants, u, u_pitch, count):
    """m of 16 output channels, whose transformed weights are at u."""
    tiles, pairs = row[W.tiles], row[W.depth] // 2
    a, c = arena.ctypes.data, constants.ctypes.data
    x, o = a + row[W.scratch], a + row[W.scratch] + 8 * tiles
    none, pitch = c + row[W.none], 4 * PANEL * tiles + _APART
    zero, real = np.int32(0), np.float32(0)
    for number in range(_NUMBERS):
        place, to = c + row[W.numbers] + 4 * number, number * pitch
        w = u + number * u_pitch
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
