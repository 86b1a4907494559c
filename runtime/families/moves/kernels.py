"""Kernels that move elements and change none."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.moves.instructions import Copy, Gather, Load, Transpose
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
T = columns_of(Transpose)
G = columns_of(Gather)
C = columns_of(Copy)
L = columns_of(Load)


@kernel
def transpose_matrix(source, target, rows, columns):
    """Transpose [rows][columns]."""
    for j in range(columns):
        line = target[j * rows : (j + 1) * rows]
        for i in range(rows):
            line[i] = source[i * columns + j]


@KERNELS.of(Transpose)
@kernel
def transpose(row, context, memory):
    arena, arena32 = memory.arena, memory.arena32
    base, sample_step, row_step = locate(row, T.input, context)
    target, target_sample, target_row = locate(row, T.output, context)
    rows, columns = row[T.rows], row[T.columns]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            at = target + s * target_sample + r * target_row
            if row[T.item] == 1:
                transpose_matrix(arena[start:], arena[at:], rows, columns)
            else:
                transpose_matrix(arena32[start // 4 :], arena32[at // 4 :], rows, columns)


@KERNELS.of(Load)
@kernel
def load(row, context, memory):
    arena, constants = memory.arena, memory.constants
    target, _, _ = locate(row, L.output, context)
    size = row[L.size]
    source, copied = constants[row[L.constant] :], arena[target : target + size]
    for i in range(size):
        copied[i] = source[i]


@kernel
def gather_runs(source, target, index, run, fill):
    for i in range(len(index)):
        start = index[i]
        if run == 1:
            target[i] = fill if start < 0 else source[np.uint32(start)]
            continue
        line = target[i * run : (i + 1) * run]
        if start < 0:
            for j in range(run):
                line[j] = fill
        else:
            taken = source[start : start + run]
            for j in range(run):
                line[j] = taken[j]


@KERNELS.of(Gather)
@kernel
def gather(row, context, memory):
    arena, arena32, ints = memory.arena, memory.arena32, memory.ints
    base, sample_step, row_step = locate(row, G.input, context)
    target, target_sample, target_row = locate(row, G.output, context)
    first = row[G.index] // 4
    index, run = ints[first : first + row[G.count]], row[G.run]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            at = target + s * target_sample + r * target_row
            if row[G.item] == 1:
                gather_runs(arena[start:], arena[at:], index, run, np.uint8(row[G.fill]))
            else:
                fill = np.int32(row[G.fill])
                gather_runs(arena32[start // 4 :], arena32[at // 4 :], index, run, fill)


@KERNELS.of(Copy)
@kernel
def copy(row, context, memory):
    arena = memory.arena
    base, sample_step, row_step = locate(row, C.input, context)
    target, target_sample, target_row = locate(row, C.output, context)
    run = row[C.run]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            start = base + s * sample_step + r * row_step
            at = target + s * target_sample + r * target_row + row[C.first]
            for _ in range(row[C.count]):
                source, line = arena[start : start + run], arena[at : at + run]
                for j in range(run):
                    line[j] = source[j]
                start += run
                at += row[C.step]
