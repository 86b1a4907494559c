"""Kernels that compute one element at a time, or look it up in a table."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.scales import STATE_HIGH
from qbnnc.runtime.families.pointwise.instructions import (
    Add,
    Clamp,
    Lookup,
    LookupReal,
    Multiply,
    SumOfProducts,
)
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
A = columns_of(Add)
CLAMP = columns_of(Clamp)
M = columns_of(Multiply)
S = columns_of(SumOfProducts)
T = columns_of(Lookup)
REAL = columns_of(LookupReal)


@KERNELS.of(Add)
@kernel
def add(row, context, memory):
    arena, floats = memory.arena, memory.floats
    a_at, a_sample, a_row = locate(row, A.a, context)
    b_at, b_sample, b_row = locate(row, A.b, context)
    target, target_sample, target_row = locate(row, A.output, context)
    scales, size = row[A.scales] // 4, row[A.size]
    a_scale, b_scale = floats[scales], floats[scales + 1]
    scale = floats[scales + 2]
    a_zero, b_zero = np.int32(row[A.a_zero]), np.int32(row[A.b_zero])
    low, high, zero = bounds(row[A.low], row[A.high], row[A.zero])
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
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


@KERNELS.of(Clamp)
@kernel
def clamp(row, context, memory):
    arena = memory.arena
    base, sample_step, row_step = locate(row, CLAMP.input, context)
    target, target_sample, target_row = locate(row, CLAMP.output, context)
    low, high, size = np.uint8(row[CLAMP.low]), np.uint8(row[CLAMP.high]), row[CLAMP.size]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            source = arena[start : start + size]
            start = target + s * target_sample + r * target_row
            clamped = arena[start : start + size]
            for i in range(size):
                clamped[i] = min(max(source[i], low), high)


@KERNELS.of(Multiply)
@kernel
def multiply(row, context, memory):
    arena, arena32, floats = memory.arena, memory.arena32, memory.floats
    a_at, a_sample, a_row = locate(row, M.a, context)
    b_at, b_sample, b_row = locate(row, M.b, context)
    target, target_sample, target_row = locate(row, M.output, context)
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            a = arena[a_at + s * a_sample + r * a_row :]
            b = arena[b_at + s * b_sample + r * b_row :]
            at = target + s * target_sample + r * target_row
            if row[M.requantize] == 1:
                factor = floats[row[M.factor] // 4]
                multiply_to_codes(row, a, b, factor, arena[at:])
            else:
                multiply_image(row, a, b, arena32[at // 4 :])


@kernel
def multiply_image(row, a, b, products):
    """Multiply two images to int32."""
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
    """Multiply two images and requantise the products."""
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


@KERNELS.of(SumOfProducts)
@kernel
def sum_of_products(row, context, memory):
    arena, arena32 = memory.arena, memory.arena32
    a_at, a_sample, a_row = locate(row, S.a, context)
    b_at, b_sample, b_row = locate(row, S.b, context)
    c_at, c_sample, c_row = locate(row, S.c, context)
    d_at, d_sample, d_row = locate(row, S.d, context)
    target, target_sample, target_row = locate(row, S.output, context)
    factors = memory.floats[row[S.factors] // 4 :]
    a_zero, b_zero = np.int32(row[S.a_zero]), np.int32(row[S.b_zero])
    c_zero, d_zero = np.int32(row[S.c_zero]), np.int32(row[S.d_zero])
    size = row[S.size]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = (target + s * target_sample + r * target_row) // 4
            state = arena32[start : start + size]
            state[:] = 0
            a = arena[a_at + s * a_sample + r * a_row :]
            at = b_at + s * b_sample + r * b_row
            if row[S.b_state] == 1:
                add_products(state, a, a_zero, arena32[at // 4 :], b_zero, factors[0])
            else:
                add_products(state, a, a_zero, arena[at:], b_zero, factors[0])
            if row[S.second] == 1:
                a = arena[c_at + s * c_sample + r * c_row :]
                at = d_at + s * d_sample + r * d_row
                if row[S.d_state] == 1:
                    b32 = arena32[at // 4 :]
                    add_products(state, a, c_zero, b32, d_zero, factors[1])
                else:
                    add_products(state, a, c_zero, arena[at:], d_zero, factors[1])


@kernel
def add_products(state, a, a_zero, b, b_zero, factor):
    """Add rounded products to a state, and clip it."""
    least, most = np.int32(-STATE_HIGH), np.int32(STATE_HIGH)
    low, high = np.float32(least), np.float32(most)
    for i in range(len(state)):
        p = np.int32(np.int32(a[i]) - a_zero)
        product = np.int32(p * np.int32(np.int32(b[i]) - b_zero))
        rounded = round_into(np.float32(product) * factor, low, high, np.int32(0))
        state[i] = min(max(np.int32(state[i] + rounded), least), most)


@KERNELS.of(Lookup)
@kernel
def lookup(row, context, memory):
    arena, constants = memory.arena, memory.constants
    base, sample_step, row_step = locate(row, T.input, context)
    target, target_sample, target_row = locate(row, T.output, context)
    table, size = constants[row[T.table] : row[T.table] + 256], row[T.size]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            codes = arena[start : start + size]
            start = target + s * target_sample + r * target_row
            found = arena[start : start + size]
            for i in range(size):
                found[i] = table[codes[i]]


@KERNELS.of(LookupReal)
@kernel
def lookup_real(row, context, memory):
    arena, floats, out = memory.arena, memory.floats, memory.out
    base, sample_step, row_step = locate(row, REAL.input, context)
    target, target_sample, target_row = locate(row, REAL.output, context)
    channels, pixels = row[REAL.channels], row[REAL.pixels]
    table = floats[row[REAL.table] // 4 : row[REAL.table] // 4 + 256]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            codes = arena[base + s * sample_step + r * row_step :]
            start = target + s * target_sample + r * target_row
            for c in range(channels):
                plane = out[start + c * pixels : start + (c + 1) * pixels]
                for p in range(pixels):
                    plane[p] = table[codes[p * channels + c]]
