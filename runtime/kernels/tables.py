"""Unary functions as tables of codes, or of numbers that leave the graph."""

from __future__ import annotations

from qbnnc.runtime.instructions import Lookup, LookupReal
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.program import columns_of

L = columns_of(Lookup)
R = columns_of(LookupReal)


@kernel
def lookup(row, context, arena, constants):
    base, sample_step, row_step = locate(row, L.input, context)
    target, target_sample, target_row = locate(row, L.output, context)
    table, size = constants[row[L.table] : row[L.table] + 256], row[L.size]
    for s in range(context[CONTEXT.SAMPLES]):
        for r in range(context[CONTEXT.ROWS]):
            start = base + s * sample_step + r * row_step
            codes = arena[start : start + size]
            start = target + s * target_sample + r * target_row
            found = arena[start : start + size]
            for i in range(size):
                found[i] = table[codes[i]]


@kernel
def lookup_real(row, context, arena, constants_f32, out):
    base, sample_step, row_step = locate(row, R.input, context)
    target, target_sample, target_row = locate(row, R.output, context)
    channels, pixels = row[R.channels], row[R.pixels]
    table = constants_f32[row[R.table] // 4 : row[R.table] // 4 + 256]
    for s in range(context[CONTEXT.SAMPLES]):
        for r in range(context[CONTEXT.ROWS]):
            codes = arena[base + s * sample_step + r * row_step :]
            start = target + s * target_sample + r * target_row
            for c in range(channels):
                plane = out[start + c * pixels : start + (c + 1) * pixels]
                for p in range(pixels):
                    plane[p] = table[codes[p * channels + c]]
