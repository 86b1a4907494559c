"""Softmax over the last axis, in integers but for two roundings: docs/semantics.md, section 4."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.softmax.instructions import Softmax
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
C = columns_of(Softmax)
_LEAST = np.int32(-(2**31))


@KERNELS.of(Softmax)
@kernel
def softmax(row, context, memory):
    arena, arena32 = memory.arena, memory.arena32
    base, sample_step, row_step = locate(row, C.input, context)
    target, target_sample, target_row = locate(row, C.output, context)
    scratch = arena32[row[C.scratch] // 4 : row[C.scratch] // 4 + row[C.length]]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            codes = arena[target + s * target_sample + r * target_row :]
            for y in range(row[C.height]):
                for x in range(row[C.width]):
                    at = y * row[C.step_y] + x
                    if row[C.wide] == 1:
                        copy_row(row, arena32[start // 4 + at :], scratch)
                    else:
                        copy_row(row, arena[start + at :], scratch)
                    total = exponentials(row, memory, y, x, scratch)
                    finish(row, memory, total, scratch, codes[at:])


@kernel
def copy_row(row, source, scratch):
    """Copy a row of codes or accumulators to int32."""
    step = row[C.step]
    for i in range(row[C.length]):
        scratch[i] = np.int32(source[i * step])


@kernel
def exponentials(row, memory, y, x, scratch):
    """Put e_i in place of each integer of a row; return their sum."""
    length, most = row[C.length], _LEAST
    if row[C.bias] >= 0:
        bias = memory.ints[row[C.bias] // 4 :]
        first, step = y * row[C.bias_step_y] + x * row[C.bias_step_x], row[C.bias_step]
        for i in range(length):
            scratch[i] = np.int32(scratch[i] + bias[first + i * step])
    mask = memory.constants[max(row[C.mask], 0) :]
    first, step = y * row[C.mask_step_y] + x * row[C.mask_step_x], row[C.mask_step]
    if row[C.mask] >= 0:
        for i in range(length):
            if mask[first + i * step] != 0:
                most = max(most, scratch[i])
    else:
        for i in range(length):
            most = max(most, scratch[i])
    table = memory.ints[row[C.table] // 4 : row[C.table] // 4 + row[C.entries]]
    factor, last = memory.floats[row[C.factors] // 4 + 1], np.float32(row[C.entries] - 1)
    total = np.int32(0)
    for i in range(length):
        distance = np.float32(max(np.int32(most - scratch[i]), np.int32(0))) * factor
        distance = distance if distance < last else last  # NaN too: no number leads elsewhere
        distance = distance if distance > np.float32(0) else np.float32(0)
        e = table[np.int32(np.rint(distance))]
        if row[C.mask] >= 0 and mask[first + i * step] == 0:
            e = np.int32(0)
        scratch[i] = e
        total = np.int32(total + e)
    return total


@kernel
def finish(row, memory, total, scratch, codes):
    """Divide a row by its sum and round it to codes."""
    low, high, zero = bounds(row[C.low], row[C.high], row[C.zero])
    step = row[C.step]
    r = memory.floats[row[C.factors] // 4] / np.float32(max(total, np.int32(1)))
    for i in range(row[C.length]):
        codes[i * step] = np.uint8(round_into(np.float32(scratch[i]) * r, low, high, zero))
