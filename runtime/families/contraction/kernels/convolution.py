"""Convolutions and linear layers: an implicit matrix product over [H, W, C], and its epilogues.

    for each group of images that fit into the cache:
        copy them into a halo of padding, if windows leave the image
        for each POSITIONS of their pixels:
            for each panel of output channels, the last one first:
                for each tile of up to 6 positions: the microkernel

A panel stores whole vectors. The panels and positions that come after it overwrite the codes that
lie beyond a pixel's channels. The value's buffer has space beyond the last pixel. Accumulators are
stored first only if a group's last panel would overwrite the next group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qbnnc.runtime.families.contraction.instructions import Convolve, Epilogue
from qbnnc.runtime.families.contraction.kernels.microkernel import Shape
from qbnnc.runtime.families.contraction.kernels.panels import product_kernel
from qbnnc.runtime.families.contraction.kernels.products import (
    PRODUCTS,
    SIGNED,
    WIDE_PRODUCTS,
)
from qbnnc.runtime.families.contraction.scratch import POSITIONS, SCRATCH, SUMS
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.packing import PANEL
from qbnnc.runtime.program import Instruction, Place, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
C = columns_of(Convolve)
_CONSTANT, _SAMPLE = int(Place.CONSTANT), int(Place.SAMPLE)
_REQUANTIZE, _DEQUANTIZE = int(Epilogue.REQUANTIZE), int(Epilogue.DEQUANTIZE)

_isa = chosen()


def _product(rows: tuple[int, ...], **form: Any) -> Any:
    return product_kernel(_isa, [Shape(rows, width, **form) for width in _isa.panels])


_has_wide = WIDE_PRODUCTS[_isa] is not PRODUCTS[_isa] or _isa in SIGNED
codes_of_plain = _product((12, 4, 1) if _isa.registers == 32 else (6, 4, 2, 1))
codes_of_wide = _product((4, 1), wide=True) if _has_wide else codes_of_plain
sums_of_wide = _product((12, 1) if _isa.registers == 32 else (4, 1), wide=True, sums=True)
codes_of_two, codes_of_four = (
    _product((4, 1), steps=n) if _isa is Isa.AVX2 else codes_of_plain for n in (2, 4)
)


@KERNELS.of(Convolve)
@kernel
def convolve(row, context, memory):
    """Compute all positions of a block; the copies of one sample share its weights."""
    arena, arena32, constants, ints, floats, out = (
        memory.arena,
        memory.arena32,
        memory.constants,
        memory.ints,
        memory.floats,
        memory.out,
    )
    sampled = row[C.weights + 2] == _SAMPLE or row[C.bias + 2] == _SAMPLE
    shares = context[CONTEXT.samples] if sampled else 1
    copies = context[CONTEXT.samples] * context[CONTEXT.rows] // shares
    halo = row[C.scratch] + SCRATCH
    if row[C.halo_height] > 0:
        arena[halo : halo + row[C.images] * halo_bytes(row)] = np.uint8(row[C.pad_code])
    for part in range(shares):
        for first in range(part * copies, (part + 1) * copies, row[C.images]):
            images = min(row[C.images], (part + 1) * copies - first)
            if row[C.halo_height] > 0:
                for i in range(images):
                    copy_into_halo(row, context, arena, halo + i * halo_bytes(row), first + i)
            for start in range(0, images * row[C.pixels], POSITIONS):
                count = min(POSITIONS, images * row[C.pixels] - start)
                for group in range(row[C.groups]):
                    find(row, context, arena, ints, first, start, count, group)
                    multiply(
                        row, context, arena, arena32, constants, ints, floats, out, part, group,
                        count,
                    )  # fmt: skip


@kernel
def halo_bytes(row):
    """Return the bytes of an image with its halo."""
    return row[C.halo_height] * row[C.halo_width] * row[C.channels] * row[C.groups]


@kernel
def copy_into_halo(row, context, arena, halo, copy):
    """Copy one image into a halo that is already filled."""
    base, sample_step, row_step = locate(row, C.input, context)
    sample = copy // context[CONTEXT.rows]
    at = base + sample * sample_step + (copy - sample * context[CONTEXT.rows]) * row_step
    pixel = row[C.channels] * row[C.groups]
    height = min(row[C.height], row[C.halo_height] - row[C.top])
    line = min(row[C.width], row[C.halo_width] - row[C.left]) * pixel
    for y in range(height):
        source = arena[at + y * row[C.width] * pixel :]
        target = arena[halo + ((row[C.top] + y) * row[C.halo_width] + row[C.left]) * pixel :]
        for i in range(line):
            target[i] = source[i]


@kernel
def find(row, context, arena, ints, first, start, count, group):
    """Write the addresses of operands and outputs of `count` positions to the scratch space.

    Positions are numbered from the first pixel of copy `first`.
    """
    base, sample_step, row_step = locate(row, C.input, context)
    target, target_sample, target_row = locate(row, C.output, context)
    rows, pixels, scratch = context[CONTEXT.rows], row[C.pixels], row[C.scratch]
    if row[C.epilogue] != _REQUANTIZE and row[C.epilogue] != _DEQUANTIZE:
        target, target_sample, target_row = target // 4, target_sample // 4, target_row // 4
    x_at = arena[scratch : scratch + 8 * POSITIONS].view(np.int64)
    out_at = arena[scratch + 8 * POSITIONS : scratch + 16 * POSITIONS].view(np.int64)
    offsets = ints[row[C.pixel_offsets] // 4 :]
    x_group, o_group = group * row[C.channels], group * row[C.filters] * row[C.channel_step]
    image = start // pixels
    pixel, done = start - image * pixels, 0
    sample = (first + image) // rows
    number = first + image - sample * rows
    while done < count:
        x = base + sample * sample_step + number * row_step + x_group
        o = target + sample * target_sample + number * target_row + o_group
        if pixels == 1 and row[C.halo_height] == 0:
            some = min(rows - number, count - done)
            x += offsets[0]
            for n in range(some):
                x_at[done + n] = x + n * row_step
                out_at[done + n] = o + n * target_row
            number += some
        else:
            some = min(pixels - pixel, count - done)
            if row[C.halo_height] > 0:
                x = scratch + SCRATCH + image * halo_bytes(row) + x_group
            for p in range(some):
                x_at[done + p] = x + offsets[pixel + p]
                out_at[done + p] = o + (pixel + p) * row[C.pixel_step]
            image, pixel, number = image + 1, 0, number + 1
        done += some
        if number == rows:
            sample, number = sample + 1, 0


@kernel
def multiply(
    row, context, arena, arena32, constants, ints, floats, out, part, group, count
):  # fmt: skip
    """Compute all panels of the positions that `find` has found."""
    weights_at, weights_sample, _ = locate(row, C.weights, context)
    bias_at, bias_sample, _ = locate(row, C.bias, context)
    first = group * row[C.padded]
    weights_at += part * weights_sample + first * row[C.depth]
    bias_at += part * bias_sample + 4 * first
    of_weights = constants if row[C.weights + 2] == _CONSTANT else arena
    of_bias = constants if row[C.bias + 2] == _CONSTANT else arena
    weights, bias = of_weights.ctypes.data + weights_at, of_bias.ctypes.data + bias_at
    factor = constants.ctypes.data + row[C.factor] + 4 * first
    whole = row[C.groups] == 1 or row[C.filters] == row[C.padded]
    if row[C.epilogue] == _REQUANTIZE and row[C.weight_zeros] < 0 and whole:
        multiply_codes(row, arena, constants, weights, bias, factor, count)
        return
    for done in range((row[C.padded] - 1) // PANEL * PANEL, -1, -PANEL):
        width = min(PANEL, row[C.padded] - done)
        panel, its_bias = weights + done * row[C.depth], bias + 4 * done
        multiply_sums(
            row, arena, arena32, constants, ints, floats, out, panel, its_bias, first, done, width,
            count,
        )  # fmt: skip


@kernel
def multiply_codes(row, arena, constants, w, b, f, count):
    """Compute all panels and requantise them on the way."""
    low, high, zero = bounds(row[C.low], row[C.high], row[C.zero])
    a, p = arena.ctypes.data, arena.ctypes.data + row[C.scratch]
    q, runs = p + 8 * POSITIONS, constants.ctypes.data + row[C.run_offsets]
    n, k, channels = row[C.segments], row[C.k_blocks], row[C.padded]
    if row[C.wide] == 1:
        codes_of_wide(a, p, runs, n, k, w, b, f, q, 0, zero, low, high, count, channels)
    elif row[C.steps] == 4:
        codes_of_four(a, p, runs, n, k, w, b, f, q, 0, zero, low, high, count, channels)
    elif row[C.steps] == 2:
        codes_of_two(a, p, runs, n, k, w, b, f, q, 0, zero, low, high, count, channels)
    else:
        codes_of_plain(a, p, runs, n, k, w, b, f, q, 0, zero, low, high, count, channels)


@kernel
def multiply_sums(
    row, arena, arena32, constants, ints, floats, out, weights, bias, group, done, width, count
):  # fmt: skip
    """Compute one panel by way of its accumulators; `group` is the group's first channel."""
    scratch = row[C.scratch]
    sums = scratch + 16 * POSITIONS
    targets = arena[sums + 4 * PANEL * SUMS :].view(np.int64)
    for m in range(SUMS):
        targets[m] = sums + 4 * width * m
    x_at = arena[scratch : scratch + 8 * POSITIONS].view(np.int64)
    out_at = arena[scratch + 8 * POSITIONS : sums].view(np.int64)
    a, runs = arena.ctypes.data, constants.ctypes.data + row[C.run_offsets]
    x, o = a + scratch, a + sums + 4 * PANEL * SUMS
    n, k_blocks, i = row[C.segments], row[C.k_blocks], 0
    w, b, f = weights, bias, constants.ctypes.data + row[C.factor]
    zero, real, step = np.int32(0), np.float32(0), row[C.channel_step]
    useful, at = min(width, row[C.filters] - done), group + done
    factor = floats[row[C.factor] // 4 + at : row[C.factor] // 4 + at + useful]
    while i < count:
        some = min(SUMS, count - i)
        p = x + 8 * i
        sums_of_wide(a, p, runs, n, k_blocks, w, b, f, o, 0, zero, real, real, some, width)
        if row[C.weight_zeros] >= 0:
            zeros = ints[row[C.weight_zeros] // 4 + at :]
            for m in range(some):
                start = sums // 4 + width * m
                acc = arena32[start : start + useful]
                subtract_zeros(row, acc, arena, ints, x_at[i + m], zeros, useful)
        if row[C.epilogue] == _DEQUANTIZE:
            for m in range(some):
                start, target = sums // 4 + width * m, out_at[i + m] + done * step
                for c in range(useful):
                    out[target + c * step] = np.float32(arena32[start + c]) * factor[c]
        else:
            for m in range(some):
                start, target = sums // 4 + width * m, out_at[i + m] + done * step
                acc = arena32[start : start + useful]
                finish(row, acc, factor, target, useful, arena, arena32, out)
        i += some


@kernel
def subtract_zeros(row, acc, arena, ints, x, zeros, count):
    """acc[n] -= Z_w[n] * (sum of the operand's codes), which affine weights need at run time."""
    total = np.int32(0)
    for s in range(row[C.segments]):
        start = x + ints[row[C.run_offsets] // 4 + s]
        for k in range(row[C.run]):
            total = np.int32(total + np.int32(arena[start + k]))
    for n in range(count):
        acc[n] = np.int32(acc[n] - np.int32(zeros[n] * total))


@kernel
def finish(row, acc, factor, at, count, arena, arena32, out):
    """Finish `count` channels of one position, whose elements begin at `at`."""
    step = row[C.channel_step]
    if row[C.epilogue] == _REQUANTIZE:
        low, high, zero = bounds(row[C.low], row[C.high], row[C.zero])
        codes = arena[at : at + count]
        for n in range(count):
            code = round_into(np.float32(acc[n]) * factor[n], low, high, zero)
            codes[n] = np.uint8(code)
    elif row[C.epilogue] == _DEQUANTIZE:
        for n in range(count):
            out[at + n * step] = np.float32(acc[n]) * factor[n]
    else:
        sums = arena32[at : at + count]
        for n in range(count):
            sums[n] = acc[n]
