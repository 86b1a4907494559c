"""Choices between constants, once for each sample or copy: docs/semantics.md, section 5."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.choice.instructions import ChoiceIndex, Choose
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.random import derive
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
N = columns_of(ChoiceIndex)
C = columns_of(Choose)
_LANE = np.uint64(0xFFFF)


@KERNELS.of(ChoiceIndex)
@kernel
def choice_index(row, context, memory):
    """Draw one word for each sample or copy, of which the lowest lane counts."""
    arena32 = memory.arena32
    target, target_sample, target_row = locate(row, N.output, context)
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[N.stream]))
    rows = 1 if row[N.shared] == 1 else context[CONTEXT.rows]
    for s in range(context[CONTEXT.samples]):
        number = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
        key = derive(stream_key, np.uint64(number))
        for r in range(rows):
            row_number = np.uint64(0)
            if row[N.shared] == 0:
                row_number = np.uint64(context[CONTEXT.row_number]) + np.uint64(r)
            lane = np.int64(derive(key, row_number) & _LANE)
            at = target + s * target_sample + r * target_row
            arena32[at // 4] = np.int32(lane * row[N.choices] >> 16)


@KERNELS.of(Choose)
@kernel
def choose(row, context, memory):
    arena, arena32, constants = memory.arena, memory.arena32, memory.constants
    index_at, index_sample, index_row = locate(row, C.index, context)
    target, target_sample, target_row = locate(row, C.output, context)
    values, size = row[C.members], row[C.size]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            number = np.int64(arena32[(index_at + s * index_sample + r * index_row) // 4])
            number = min(max(number, np.int64(0)), row[C.count] - 1)
            source = constants[values + number * size :]
            at = target + s * target_sample + r * target_row
            taken = arena[at : at + size]
            for i in range(size):
                taken[i] = source[i]
