"""Normalisation of groups of codes: docs/semantics.md, section 4.

Sums are exact integers. The root and the quotient are float64, once a group. Each element has two
float32 products and a sum, which nothing fuses.
"""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.normalization.instructions import Normalize
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
N = columns_of(Normalize)
_BLOCK = 16384  # squares of codes whose sum fits int32


@KERNELS.of(Normalize)
@kernel
def normalize(row, context, memory):
    arena, floats = memory.arena, memory.floats
    numbers = memory.constants[row[N.numbers] : row[N.numbers] + 24].view(np.float64)
    base, sample_step, row_step = locate(row, N.input, context)
    target, target_sample, target_row = locate(row, N.output, context)
    weights, biases = floats[row[N.weight] // 4 :], floats[row[N.bias] // 4 :]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            x = arena[base + s * sample_step + r * row_step :]
            y = arena[target + s * target_sample + r * target_row :]
            for i in range(row[N.outer]):
                for j in range(row[N.inner]):
                    at = i * row[N.outer_step] + j * row[N.inner_step]
                    own = i * row[N.parameter_outer] + j * row[N.parameter_inner]
                    normalize_group(row, numbers, x[at:], y[at:], weights[own:], biases[own:])


@kernel
def normalize_group(row, numbers, x, y, weights, biases):
    """Normalise one group, whose first element is the first of x and of y."""
    count, step, run = row[N.count], row[N.step], row[N.run]
    total, squares = group_sums(x, count, step, np.int32(row[N.zero_in]))
    if row[N.centred] == 0:
        total = 0
    spread = np.float64(count * squares - total * total)
    root = np.sqrt(spread + numbers[0]) + numbers[1]
    inverse = np.float32(1.0 / (root if root > numbers[2] else numbers[2]))
    factor = np.int32(count)
    shift = np.int32(total + count * row[N.zero_in])
    if step == 1 and run == 1:
        write_each(row, x, y, weights, biases, factor, shift, inverse)
        return
    low, high, zero = bounds(row[N.low], row[N.high], row[N.zero])
    for first in range(0, count, run):
        weight, bias = weights[first // run], biases[first // run]
        for e in range(first * step, (first + run) * step, step):
            moved = np.float32(np.int32(np.int32(factor * np.int32(x[e])) - shift))
            real = np.float32(moved * inverse) * weight + bias
            y[e] = np.uint8(round_into(real, low, high, zero))


@kernel
def write_each(row, x, y, weights, biases, factor, shift, inverse):
    """Write neighbours with a weight and bias each."""
    low, high, zero = bounds(row[N.low], row[N.high], row[N.zero])
    count = row[N.count]
    codes, made = x[:count], y[:count]
    weight, bias = weights[:count], biases[:count]
    for e in range(count):
        moved = np.float32(np.int32(np.int32(factor * np.int32(codes[e])) - shift))
        real = np.float32(moved * inverse) * weight[e] + bias[e]
        made[e] = np.uint8(round_into(real, low, high, zero))


@kernel
def group_sums(x, count, step, zero):
    """Return (sum of code - zero, sum of its square), int64."""
    total, squares = np.int64(0), np.int64(0)
    for first in range(0, count, _BLOCK):
        end = min(first + _BLOCK, count)
        part, square = np.int32(0), np.int32(0)
        if step == 1:
            codes = x[first:end]
            for e in range(end - first):
                code = np.int32(np.int32(codes[e]) - zero)
                part = np.int32(part + code)
                square = np.int32(square + np.int32(code * code))
        else:
            for e in range(first * step, end * step, step):
                code = np.int32(np.int32(x[e]) - zero)
                part = np.int32(part + code)
                square = np.int32(square + np.int32(code * code))
        total, squares = total + part, squares + square
    return total, squares
