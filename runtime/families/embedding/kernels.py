"""Rows of a table, by ids of the input: docs/semantics.md, section 4."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.embedding.instructions import Embed
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
E = columns_of(Embed)


@kernel
def row_of(number, rows):
    """Cut a number to 0..rows - 1 and round it towards zero; NaN is 0."""
    if not number > np.float32(0):
        return np.int64(0)
    if number >= np.float32(rows - 1):
        return rows - 1
    return np.int64(number)


@KERNELS.of(Embed)
@kernel
def embed(row, context, memory):
    x, arena, constants, ints = memory.x, memory.arena, memory.constants, memory.ints
    base, sample_step, row_step = locate(row, E.input, context)
    target, target_sample, target_row = locate(row, E.output, context)
    rows, width, planes, lines = row[E.rows], row[E.width], row[E.planes], row[E.lines]
    table, index = row[E.table], ints[row[E.index] // 4 :]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            at = target + s * target_sample + r * target_row
            for c in range(planes):
                for h in range(lines):
                    place = np.int64(index[c * lines + h])
                    number = x[start + place] if place >= 0 else np.float32(0)
                    first = table + row_of(number, rows) * width
                    source = constants[first : first + width]
                    taken = arena[at + h * width * planes + c :]
                    for i in range(width):
                        taken[i * planes] = source[i]
