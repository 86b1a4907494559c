"""Depthwise convolutions: CHANNEL_BLOCK channels of one position at a time."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.contraction.instructions import Depthwise, Epilogue
from qbnnc.runtime.families.contraction.kernels.convolution import finish
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.layout import CHANNEL_BLOCK
from qbnnc.runtime.program import Instruction, Place, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
C = columns_of(Depthwise)
_CONSTANT, _ACCUMULATOR = int(Place.CONSTANT), int(Epilogue.ACCUMULATOR)


@kernel
def add_products(acc, x, weights, count):
    """acc[n] += x[n] * weights[n], int32 that wraps."""
    for n in range(count):
        acc[n] = np.int32(acc[n] + np.int32(np.int32(x[n]) * np.int32(weights[n])))


@kernel
def subtract_products(acc, x, zeros, count):
    """acc[n] -= x[n] * Z_w[n], which affine weights need at run time."""
    for n in range(count):
        acc[n] = np.int32(acc[n] - np.int32(np.int32(x[n]) * zeros[n]))


@kernel
def accumulate(row, acc, pixels, padding, weights, zeros, y, x):
    """Add the window of position (y, x); `padding` stands for the pixels outside the image.

    `pixels` begins at the first of these channels; `zeros` is empty for symmetric weights.
    """
    count, channels, step = len(padding), row[C.filters], (len(weights) // row[C.depth])
    for i in range(row[C.kernel_height]):
        iy = y * row[C.stride_y] - row[C.top] + i * row[C.dilation_y]
        for j in range(row[C.kernel_width]):
            ix = x * row[C.stride_x] - row[C.left] + j * row[C.dilation_x]
            at = (i * row[C.kernel_width] + j) * step
            line, codes = weights[at : at + count], padding
            if 0 <= iy < row[C.height] and 0 <= ix < row[C.width]:
                at = (iy * row[C.width] + ix) * channels
                codes = pixels[at : at + count]
            add_products(acc, codes, line, count)
            if len(zeros) > 0:
                subtract_products(acc, codes, zeros, count)


@KERNELS.of(Depthwise)
@kernel
def depthwise(row, context, memory):
    arena, arena32, constants, ints, floats, out = (
        memory.arena,
        memory.arena32,
        memory.constants,
        memory.ints,
        memory.floats,
        memory.out,
    )
    base, sample_step, row_step = locate(row, C.input, context)
    target, target_sample, target_row = locate(row, C.output, context)
    weights_base, weights_sample, _ = locate(row, C.weights, context)
    bias_base, bias_sample, _ = locate(row, C.bias, context)
    weight_bytes = constants if row[C.weights + 2] == _CONSTANT else arena
    biases = ints if row[C.bias + 2] == _CONSTANT else arena32
    if row[C.epilogue] == _ACCUMULATOR:
        target, target_sample, target_row = target // 4, target_sample // 4, target_row // 4
    filters, depth = row[C.filters], row[C.depth]
    padded = row[C.padded]
    acc_at, padding_at = row[C.scratch] // 4, row[C.scratch] + 4 * CHANNEL_BLOCK
    for done in range(0, filters, CHANNEL_BLOCK):
        width, count = min(CHANNEL_BLOCK, padded - done), min(CHANNEL_BLOCK, filters - done)
        acc = arena32[acc_at : acc_at + count]
        padding = arena[padding_at : padding_at + count]
        for n in range(count):
            padding[n] = np.uint8(row[C.pad_code])
        start = row[C.factor] // 4 + done
        factor = floats[start : start + count]
        start = max(0, row[C.weight_zeros] // 4 + done)
        zeros = ints[start : start + (count if row[C.weight_zeros] >= 0 else 0)]
        for s in range(context[CONTEXT.samples]):
            start = weights_base + s * weights_sample + done * depth
            weights = weight_bytes[start : start + depth * width].view(np.int8)
            start = (bias_base + s * bias_sample) // 4 + done
            bias = biases[start : start + count]
            for r in range(context[CONTEXT.rows]):
                pixels = arena[base + s * sample_step + r * row_step + done :]
                at = target + s * target_sample + r * target_row + done * row[C.channel_step]
                for y in range(row[C.out_height]):
                    for x in range(row[C.out_width]):
                        for n in range(count):
                            acc[n] = bias[n]
                        accumulate(row, acc, pixels, padding, weights, zeros, y, x)
                        finish(row, acc, factor, at, count, arena, arena32, out)
                        at += row[C.pixel_step]
