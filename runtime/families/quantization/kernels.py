"""Kernels that quantise the input, requantise accumulators and dequantise outputs."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.quantization.instructions import Dequantize, Quantize, Requantize
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
Q = columns_of(Quantize)
R = columns_of(Requantize)
D = columns_of(Dequantize)


@KERNELS.of(Quantize)
@kernel
def quantize(row, context, memory):
    x, arena, floats = memory.x, memory.arena, memory.floats
    base, sample_step, row_step = locate(row, Q.input, context)
    target, target_sample, target_row = locate(row, Q.output, context)
    size = row[Q.channels] * row[Q.pixels]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            at = target + s * target_sample + r * target_row
            quantize_row(row, x[start : start + size], arena[at : at + size], floats)


@kernel
def quantize_row(row, real, codes, floats):
    """Quantise one row of the batch."""
    channels, pixels = row[Q.channels], row[Q.pixels]
    channel_step, pixel_step = row[Q.channel_step], row[Q.pixel_step]
    low, high, zero = bounds(row[Q.low], row[Q.high], row[Q.zero])
    shifts, scales = floats[row[Q.shift] // 4 :], floats[row[Q.scale] // 4 :]
    if pixels == 1 and channel_step == 1:
        for c in range(channels):
            code = round_into((real[c] - shifts[c]) / scales[c], low, high, zero)
            codes[c] = np.uint8(code)
        return
    for c in range(channels):
        shift, scale = shifts[c], scales[c]
        source, target = real[c * pixels : (c + 1) * pixels], codes[c * channel_step :]
        if pixel_step == 1:
            for p in range(pixels):
                target[p] = np.uint8(round_into((source[p] - shift) / scale, low, high, zero))
        else:
            for p in range(pixels):
                code = round_into((source[p] - shift) / scale, low, high, zero)
                target[p * pixel_step] = np.uint8(code)


@KERNELS.of(Requantize)
@kernel
def requantize(row, context, memory):
    arena, arena32, floats = memory.arena, memory.arena32, memory.floats
    base, sample_step, row_step = locate(row, R.input, context)
    target, target_sample, target_row = locate(row, R.output, context)
    channels, pixels = row[R.channels], row[R.pixels]
    low, high, zero = bounds(row[R.low], row[R.high], row[R.zero])
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = (base + s * sample_step + r * row_step) // 4
            at = target + s * target_sample + r * target_row
            for p in range(pixels):
                sums = arena32[start + p * channels : start + (p + 1) * channels]
                codes = arena[at + p * channels : at + (p + 1) * channels]
                factor = floats[row[R.factor] // 4 + p * row[R.factor_step] :]
                for c in range(channels):
                    real = np.float32(sums[c]) * factor[c]
                    codes[c] = np.uint8(round_into(real, low, high, zero))


@KERNELS.of(Dequantize)
@kernel
def dequantize(row, context, memory):
    arena, arena32, ints, floats, out = (
        memory.arena,
        memory.arena32,
        memory.ints,
        memory.floats,
        memory.out,
    )
    base, sample_step, row_step = locate(row, D.input, context)
    target, target_sample, target_row = locate(row, D.output, context)
    zeros, scales = ints[row[D.zero] // 4 :], floats[row[D.scale] // 4 :]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            real = out[target + s * target_sample + r * target_row :]
            if row[D.item] == 4:
                dequantize_row(row, arena32[start // 4 :], zeros, scales, real)
            elif row[D.item] < 0:
                dequantize_row(row, arena[start:].view(np.int8), zeros, scales, real)
            else:
                dequantize_row(row, arena[start:], zeros, scales, real)


@kernel
def dequantize_row(row, codes, zeros, scales, real):
    """Dequantise [pixels][channels] to [channels][pixels]."""
    channels, pixels, step = row[D.channels], row[D.pixels], row[D.step]
    if pixels == 1:
        for c in range(channels):
            real[c] = np.float32(np.int32(np.int32(codes[c]) - zeros[c])) * scales[c]
        return
    for c in range(channels):
        plane = real[c * pixels : (c + 1) * pixels]
        for p in range(pixels):
            at = p * step + c
            moved = np.int32(np.int32(codes[p * channels + c]) - zeros[at])
            plane[p] = np.float32(moved) * scales[at]
