"""3x3 convolutions of stride 1 by Winograd's F(2x2, 3x3), exact in integers.

    Y = A' [ (G g G') * (B' d B) ] A      (Lavin and Gray, "Fast algorithms for convolutional
                                           neural networks", 2015, section 4)

A 2x2 tile of outputs takes 16 products for each pair of channels, not 36. B has only 0, 1 and -1,
so that a transformed 4x4 patch d of codes fits into int16. G has halves, so that 2G is taken. Then
transformed weights are integers in int16, and sums are exactly four times the true ones.

    for each `tiles` tiles of the block's images (of one sample, if something is sampled):
        input_transform: d -> 16 numbers for each channel        v [16][tiles][channels]     int16
        for each panel of 16 output channels:
            filter_transform: g -> 16 numbers for each channel   u [16][channels / 2][16][2] int16
            for each of the 16 numbers: the microkernel          m [16][tiles][16]           int32
            output_transform: m -> 2x2 outputs, requantised

The weights lie as for the direct form, in bytes. Transformed weights would be 3.6 times as large,
and would take longer to read from memory than to make.

The form pays if a product of int16 pairs takes no more instructions than one of four bytes. This is
so with AVX2, but not with a dot product.
"""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.contraction.instructions import Winograd
from qbnnc.runtime.families.contraction.kernels.microkernel import Shape, panel_kernel
from qbnnc.runtime.families.contraction.kernels.winograd_transforms import (
    WIDTH,
    filter_transform,
    input_transform,
    output_transform,
)
from qbnnc.runtime.families.contraction.scratch import APART, TILE_NUMBERS
from qbnnc.runtime.families.contraction.scratch import TILE_PANEL as PANEL
from qbnnc.runtime.isa import Isa
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds
from qbnnc.runtime.layout import K_BLOCK
from qbnnc.runtime.program import Instruction, Place, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
W = columns_of(Winograd)
_CONSTANT, _SAMPLE = int(Place.CONSTANT), int(Place.SAMPLE)

sums_of_words = panel_kernel(Isa.AVX2, Shape((6, 4, 1), 16, sums=True, words=True))


@KERNELS.of(Winograd)
@kernel
def winograd(row, context, memory):
    """Compute all images of a block, some tiles at a time; those of a sample share its weights."""
    arena, constants = memory.arena, memory.constants
    most, channels, scratch = row[W.tiles], row[W.depth], row[W.scratch]
    across = (row[W.out_width] + 1) // 2
    each = across * ((row[W.out_height] + 1) // 2)
    v_at = arena[scratch : scratch + 8 * most].view(np.int64)
    m_at = arena[scratch + 8 * most : scratch + 16 * most].view(np.int64)
    outs = arena[scratch + 16 * most : scratch + 48 * most].view(np.int64)
    patch = scratch + 48 * most
    v = patch + 16 * channels
    m = v + TILE_NUMBERS * row[W.pitch]
    for t in range(most):
        v_at[t] = v + 2 * channels * t
        m_at[t] = m + 4 * PANEL * t
    u_pitch = 2 * PANEL * channels + APART
    u = m + TILE_NUMBERS * (4 * PANEL * most + APART)
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
                transform_input(row, context, arena, image, 2 * y, 2 * x, patch, v_at[t])
                find_outputs(row, context, outs[4 * t : 4 * t + 4], image, 2 * y, 2 * x)
            for panel in range(0, row[W.filters], PANEL):
                of_panel = weights + 9 * channels * panel
                of_u = arena.ctypes.data + u
                filter_transform(of_panel, PANEL * channels, of_u, u_pitch, channels // K_BLOCK)
                multiply_panel(row, arena, constants, of_u, u_pitch, count)
                transform_outputs(row, arena, constants, bias + 4 * panel, panel, count, m)


@kernel
def address(row, column, context, arena, constants, share):
    """Return the address of a constant, or of one sample's element of a buffer."""
    base, sample_step, _ = locate(row, column, context)
    memory = constants if row[column + 2] == _CONSTANT else arena
    return memory.ctypes.data + base + share * sample_step


@kernel
def transform_input(row, context, arena, image, y, x, patch, v):
    """Transform the patch of the outputs at (y, x); a patch that leaves the image is copied."""
    base, sample_step, row_step = locate(row, W.input, context)
    sample = image // context[CONTEXT.rows]
    base += sample * sample_step + (image - sample * context[CONTEXT.rows]) * row_step
    height, width, pixel = row[W.height], row[W.width], row[W.depth]
    top, left, a = y - row[W.top], x - row[W.left], arena.ctypes.data
    pitch, count = row[W.pitch], pixel // WIDTH
    if top >= 0 and left >= 0 and top + 4 <= height and left + 4 <= width:
        start = a + base + (top * width + left) * pixel
        input_transform(start, width * pixel, pixel, a + v, pitch, count)
        return
    arena[patch : patch + 16 * pixel] = np.uint8(row[W.pad_code])
    before, after = max(0, -left), min(4, width - left)
    if after > before:
        for r in range(max(0, -top), min(4, height - top)):
            source = base + ((top + r) * width + left + before) * pixel
            target = patch + (4 * r + before) * pixel
            for i in range((after - before) * pixel):
                arena[target + i] = arena[source + i]
    input_transform(a + patch, 4 * pixel, pixel, a + v, pitch, count)


@kernel
def find_outputs(row, context, outs, image, y, x):
    """Find the four outputs of a tile; those beyond the image go to the scratch space."""
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
    """Compute m of 16 output channels, whose transformed weights are at u."""
    tiles, pairs = row[W.tiles], row[W.depth] // 2
    a, c = arena.ctypes.data, constants.ctypes.data
    x, o = a + row[W.scratch], a + row[W.scratch] + 8 * tiles
    none, pitch = c + row[W.none], 4 * PANEL * tiles + APART
    zero, real = np.int32(0), np.float32(0)
    for number in range(TILE_NUMBERS):
        place, to = c + row[W.numbers] + 4 * number, number * pitch
        w = u + number * u_pitch
        sums_of_words(a, x, place, 1, pairs, w, none, none, o, to, zero, real, real, count)


@kernel
def transform_outputs(row, arena, constants, bias, panel, count, m):
    """Transform m to the outputs of 16 channels, for `count` tiles."""
    low, high, zero = bounds(row[W.low], row[W.high], row[W.zero])
    a, c, tiles = arena.ctypes.data, constants.ctypes.data, row[W.tiles]
    factor = c + row[W.factor] + 4 * panel
    outs, pitch = a + row[W.scratch] + 16 * tiles, 4 * PANEL * tiles + APART
    for t in range(count):
        start = a + m + 4 * PANEL * t
        output_transform(start, pitch, bias, factor, a, outs + 32 * t, panel, zero, low, high)
