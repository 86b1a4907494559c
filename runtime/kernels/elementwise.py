"""Kernels that look at one element at a time: sums, products, clamps, selects."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.instructions import Add, Clamp, Multiply, Select
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.codes import select_codes
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.packing import CODES
from qbnnc.runtime.program import columns_of

A = columns_of(Add)
CLAMP = columns_of(Clamp)
S = columns_of(Select)
M = columns_of(Multiply)


@kernel
def add(row, context, arena, constants_f32):
    a_at, a_sample, a_row = locate(row, A.a, context)
    b_at, b_sample, b_row = locate(row, A.b, context)
    target, target_sample, target_row = locate(row, A.output, context)
    scales, size = row[A.scales] // 4, row[A.size]
    a_scale, b_scale = constants_f32[scales], constants_f32[scales + 1]
    scale = constants_f32[scales + 2]
    a_zero, b_zero = np.int32(row[A.a_zero]), np.int32(row[A.b_zero])
    low, high, zero = bounds(row[A.low], row[A.high], row[A.zero])
    for s in range(context[CONTEXT.SAMPLES]):
        for r in range(context[CONTEXT.ROWS]):
            start = a_at + s * a_sample + r * a_row
            a = arena[start : start + size]
            start = b_at + s * b_sample + r * b_row
            b = arena[start : start + size]
            start = target + s * target_sample + r * target_row
            total = arena[start : start + size]
            for i in range(size):
                real_a = np.float32(np.int32(np.int32(a[i]) - a_zero)) * a_scale
                real_b = np.float32(np.int32(np.int32(b[i]) - b_zero)) * b_scale
                total[i] = np.uint8(round_into((real_a + real_b) / scale, low, high, zero))


@kernel
def clamp(row, context, arena):
    base, sample_step, row_step = locate(row, CLAMP.input, context)
    target, target_sample, target_row = locate(row, CLAMP.output, context)
    low, high, size = np.uint8(row[CLAMP.low]), np.uint8(row[CLAMP.high]), row[CLAMP.size]
    for s in range(context[CONTEXT.SAMPLES]):
        for r in range(context[CONTEXT.ROWS]):
            start = base + s * sample_step + r * row_step
            source = arena[start : start + size]
            start = target + s * target_sample + r * target_row
            clamped = arena[start : start + size]
            for i in range(size):
                clamped[i] = min(max(source[i], low), high)


@kernel
def select(row, context, arena):
    base, sample_step, row_step = locate(row, S.input, context)
    mask_at, mask_sample, mask_row = locate(row, S.mask, context)
    target, target_sample, target_row = locate(row, S.output, context)
    pixels, channels, a = row[S.height] * row[S.width], row[S.channels], arena.ctypes.data
    one_for_all = row[S.step_channel] == 1 and row[S.step_y] == 0 and row[S.step_x] == 0
    zero, turns = np.uint8(row[S.zero]), (channels + CODES - 1) // CODES
    for s in range(context[CONTEXT.SAMPLES]):
        for r in range(context[CONTEXT.ROWS]):
            at, mask = (
                base + s * sample_step + r * row_step,
                mask_at + s * mask_sample + r * mask_row,
            )
            to = target + s * target_sample + r * target_row
            if one_for_all:
                select_codes(a + at, a + mask, a + to, zero, pixels, channels, turns)
            else:
                select_image(row, arena[at:], arena[mask:], arena[to:])


@kernel
def select_image(row, codes, mask, selected):
    """Any mask that broadcasts."""
    channels, zero, step = row[S.channels], np.uint8(row[S.zero]), row[S.step_channel]
    at = 0
    for y in range(row[S.height]):
        for x in range(row[S.width]):
            source, target = codes[at : at + channels], selected[at : at + channels]
            keep = mask[y * row[S.step_y] + x * row[S.step_x] :]
            if step == 1:
                for c in range(channels):
                    target[c] = ((source[c] ^ zero) & np.uint8(0 - keep[c])) ^ zero
            else:
                for c in range(channels):
                    target[c] = ((source[c] ^ zero) & np.uint8(0 - keep[c * step])) ^ zero
            at += channels


@kernel
def multiply(row, context, arena, arena32, constants_f32):
    a_at, a_sample, a_row = locate(row, M.a, context)
    b_at, b_sample, b_row = locate(row, M.b, context)
    target, target_sample, target_row = locate(row, M.output, context)
    for s in range(context[CONTEXT.SAMPLES]):
        for r in range(context[CONTEXT.ROWS]):
            a = arena[a_at + s * a_sample + r * a_row :]
            b = arena[b_at + s * b_sample + r * b_row :]
            at = target + s * target_sample + r * target_row
            if row[M.requantize] == 1:
                factor = constants_f32[row[M.factor] // 4]
                multiply_to_codes(row, a, b, factor, arena[at:])
            else:
                multiply_image(row, a, b, arena32[at // 4 :])


@kernel
def multiply_image(row, a, b, products):
    channels, a_step, b_step = row[M.channels], row[M.a_step_channel], row[M.b_step_channel]
    a_zero, b_zero = np.int32(row[M.a_zero]), np.int32(row[M.b_zero])
    for y in range(row[M.height]):
        for x in range(row[M.width]):
            start = (y * row[M.width] + x) * channels
            target = products[start : start + channels]
            first = a[y * row[M.a_step_y] + x * row[M.a_step_x] :]
            second = b[y * row[M.b_step_y] + x * row[M.b_step_x] :]
            for c in range(channels):
                p = np.int32(np.int32(first[c * a_step]) - a_zero)
                q = np.int32(np.int32(second[c * b_step]) - b_zero)
                target[c] = np.int32(p * q)


@kernel
def multiply_to_codes(row, a, b, factor, codes):
    channels, a_step, b_step = row[M.channels], row[M.a_step_channel], row[M.b_step_channel]
    a_zero, b_zero = np.int32(row[M.a_zero]), np.int32(row[M.b_zero])
    low, high, zero = bounds(row[M.low], row[M.high], row[M.zero])
    for y in range(row[M.height]):
        for x in range(row[M.width]):
            start = (y * row[M.width] + x) * channels
            target = codes[start : start + channels]
            first = a[y * row[M.a_step_y] + x * row[M.a_step_x] :]
            second = b[y * row[M.b_step_y] + x * row[M.b_step_x] :]
            if a_step == 1 and b_step == 1:
                for c in range(channels):
                    p = np.int32(np.int32(first[c]) - a_zero)
                    real = np.float32(np.int32(p * np.int32(np.int32(second[c]) - b_zero))) * factor
                    target[c] = np.uint8(round_into(real, low, high, zero))
            else:
                for c in range(channels):
                    p = np.int32(np.int32(first[c * a_step]) - a_zero)
                    q = np.int32(np.int32(second[c * b_step]) - b_zero)
                    real = np.float32(np.int32(p * q)) * factor
                    target[c] = np.uint8(round_into(real, low, high, zero))
