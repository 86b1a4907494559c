"""Windows of an image [H, W, C]: maximum, sum, and codes put back at the first maximum.

Pixels outside the image do not count.
"""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.pooling.instructions import MaxPool, MaxUnpool, SumPool
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.codes import largest_codes
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.layout import CODES
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
C = columns_of(MaxPool)
U = columns_of(MaxUnpool)
assert vars(columns_of(SumPool)).keys() == vars(C).keys()


@kernel
def window(row, i, which):
    """Return (first tap, end, place of tap 0) of window i along y (which = 0) or x (1), clipped."""
    if which == 0:
        size, taps, dilation = row[C.height], row[C.kernel_height], row[C.dilation_y]
        start = i * row[C.stride_y] - row[C.top]
    else:
        size, taps, dilation = row[C.width], row[C.kernel_width], row[C.dilation_x]
        start = i * row[C.stride_x] - row[C.left]
    if start >= 0 and start + (taps - 1) * dilation < size:
        return 0, taps, start
    first = (-start + dilation - 1) // dilation if start < 0 else 0
    end = (size - start + dilation - 1) // dilation if start < size else 0
    return first, min(end, taps), start


@kernel
def max_image(row, image, pooled):
    """Pool one image; `image` and `pooled` are addresses."""
    channels, pitch = row[C.channels], row[C.width] * row[C.channels]
    line, pixel = row[C.dilation_y] * pitch, row[C.dilation_x] * channels
    turns = (channels + CODES - 1) // CODES
    for y in range(row[C.out_height]):
        i0, i1, top = window(row, y, 0)
        for x in range(row[C.out_width]):
            j0, j1, left = window(row, x, 1)
            target = pooled + (y * row[C.out_width] + x) * channels
            if i1 <= i0 or j1 <= j0:  # outside the image
                largest_codes(image, 0, 0, 0, 0, target, turns)
                continue
            start = image + (top + i0 * row[C.dilation_y]) * pitch
            start += (left + j0 * row[C.dilation_x]) * channels
            largest_codes(start, line, pixel, i1 - i0, j1 - j0, target, turns)


@kernel
def sum_image(row, image, sums):
    """Sum the windows of one image."""
    channels, width = row[C.channels], row[C.width]
    for y in range(row[C.out_height]):
        i0, i1, top = window(row, y, 0)
        for x in range(row[C.out_width]):
            j0, j1, left = window(row, x, 1)
            at = (y * row[C.out_width] + x) * channels
            target = sums[at : at + channels]
            inside = max(0, i1 - i0) * max(0, j1 - j0)
            start = np.int32(-row[C.zero] * inside)
            for c in range(channels):
                target[c] = start
            for i in range(i0, i1):
                for j in range(j0, j1):
                    iy, ix = top + i * row[C.dilation_y], left + j * row[C.dilation_x]
                    at = (iy * width + ix) * channels
                    source = image[at : at + channels]
                    for c in range(channels):
                        target[c] = np.int32(target[c] + np.int32(source[c]))


@KERNELS.of(MaxPool)
@kernel
def max_pool(row, context, memory):
    arena = memory.arena
    base, sample_step, row_step = locate(row, C.input, context)
    target, target_sample, target_row = locate(row, C.output, context)
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            image = arena.ctypes.data + base + s * sample_step + r * row_step
            pooled = arena.ctypes.data + target + s * target_sample + r * target_row
            max_image(row, image, pooled)


@KERNELS.of(SumPool)
@kernel
def sum_pool(row, context, memory):
    arena, arena32 = memory.arena, memory.arena32
    base, sample_step, row_step = locate(row, C.input, context)
    target, target_sample, target_row = locate(row, C.output, context)
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            image = arena[base + s * sample_step + r * row_step :]
            at = (target + s * target_sample + r * target_row) // 4
            sum_image(row, image, arena32[at:])


@kernel
def unpool_image(row, codes, image, spread):
    """Fill the windows of one image with the zero point, and put a code into each."""
    channels, across = row[U.channels], row[U.kernel_width]
    pitch, zero = row[U.width] * across * channels, np.uint8(row[U.zero])
    for y in range(row[U.height]):
        for x in range(row[U.width]):
            first = y * row[U.kernel_height] * pitch + x * across * channels
            source = (y * row[U.width] + x) * channels
            for c in range(channels):
                best, place = np.int32(-1), first + c
                for i in range(row[U.kernel_height]):
                    for j in range(across):
                        at = first + i * pitch + j * channels + c
                        spread[at] = zero
                        code = np.int32(image[at])
                        if code > best:
                            best, place = code, at
                spread[place] = codes[source + c]


@KERNELS.of(MaxUnpool)
@kernel
def max_unpool(row, context, memory):
    arena = memory.arena
    base, sample_step, row_step = locate(row, U.input, context)
    other, other_sample, other_row = locate(row, U.image, context)
    target, target_sample, target_row = locate(row, U.output, context)
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            codes = arena[base + s * sample_step + r * row_step :]
            image = arena[other + s * other_sample + r * other_row :]
            unpool_image(row, codes, image, arena[target + s * target_sample + r * target_row :])
