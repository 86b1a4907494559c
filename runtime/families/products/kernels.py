"""Kernels of products of two computed matrices.

    for each pair of matrices:
        write q - Z of both as int16, in lines of K that end in zeros
        for each two lines of a, and each two of b:
            four sums of products, which become vpmaddwd on x86

No product or pair of products leaves int32: |q - Z| <= 255. A sum may wrap on its way.
"""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.products.instructions import LINE, TILE, MatMul
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds, round_into
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
P = columns_of(MatMul)


@KERNELS.of(MatMul)
@kernel
def mat_mul(row, context, memory):
    arena = memory.arena
    a_at, a_sample, a_row = locate(row, P.a, context)
    b_at, b_sample, b_row = locate(row, P.b, context)
    target, target_sample, target_row = locate(row, P.output, context)
    height, width, depth = row[P.height], row[P.width], row[P.depth]
    line = (depth + LINE - 1) // LINE * LINE
    of_a = (height + TILE - 1) // TILE * TILE * line
    of_b = (width + TILE - 1) // TILE * TILE * line
    scratch = row[P.scratch]
    a_lines = arena[scratch : scratch + 2 * of_a].view(np.int16)
    b_lines = arena[scratch + 2 * of_a : scratch + 2 * (of_a + of_b)].view(np.int16)
    a_lines[:] = 0
    b_lines[:] = 0
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            for number in range(row[P.count]):
                a = arena[a_at + s * a_sample + r * a_row + number * row[P.a_step_count] :]
                b = arena[b_at + s * b_sample + r * b_row + number * row[P.b_step_count] :]
                steps = row[P.a_step_line], row[P.a_step_depth]
                pack(a, np.int16(row[P.a_zero]), height, depth, line, steps, a_lines)
                steps = row[P.b_step_line], row[P.b_step_depth]
                pack(b, np.int16(row[P.b_zero]), width, depth, line, steps, b_lines)
                at = target + s * target_sample + r * target_row
                multiply(row, memory, a_lines, b_lines, line, at, number)


@kernel
def pack(codes, zero, lines, depth, line, steps, packed):
    """Write q - Z of a matrix, in lines of `line` numbers."""
    step_line, step_depth = steps
    for i in range(lines):
        target = packed[i * line : i * line + depth]
        source = codes[i * step_line :]
        if step_depth == 1:
            for k in range(depth):
                target[k] = np.int16(np.int16(source[k]) - zero)
        else:
            for k in range(depth):
                target[k] = np.int16(np.int16(source[k * step_depth]) - zero)


@kernel
def multiply(row, memory, a_lines, b_lines, line, at, number):
    """Multiply a pair of packed matrices, two lines by two."""
    height, width = row[P.height], row[P.width]
    step, first = 1, number * height * width
    if row[P.interleaved] == 1:
        step, first = row[P.count], number
    for i in range(0, height, TILE):
        a, b = a_lines[i * line : (i + 1) * line], a_lines[(i + 1) * line : (i + 2) * line]
        for j in range(0, width, TILE):
            c, d = b_lines[j * line : (j + 1) * line], b_lines[(j + 1) * line : (j + 2) * line]
            ac, ad, bc, bd = products(a, b, c, d, line)
            place = first + (i * width + j) * step
            store(row, memory, at, place, ac)
            if j + 1 < width:
                store(row, memory, at, place + step, ad)
            if i + 1 < height:
                store(row, memory, at, place + width * step, bc)
            if i + 1 < height and j + 1 < width:
                store(row, memory, at, place + (width + 1) * step, bd)


@kernel
def products(a, b, c, d, line):
    """Sum the products of either of two lines with either of two others."""
    ac, ad, bc, bd = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
    for k in range(line):
        p, q, u, v = np.int32(a[k]), np.int32(b[k]), np.int32(c[k]), np.int32(d[k])
        ac = np.int32(ac + np.int32(p * u))
        ad = np.int32(ad + np.int32(p * v))
        bc = np.int32(bc + np.int32(q * u))
        bd = np.int32(bd + np.int32(q * v))
    return ac, ad, bc, bd


@kernel
def store(row, memory, at, place, total):
    """Store a sum as it is, or requantised."""
    if row[P.requantize] == 1:
        low, high, zero = bounds(row[P.low], row[P.high], row[P.zero])
        real = np.float32(total) * memory.floats[row[P.factor] // 4]
        memory.arena[at + place] = np.uint8(round_into(real, low, high, zero))
    else:
        memory.arena32[at // 4 + place] = total
