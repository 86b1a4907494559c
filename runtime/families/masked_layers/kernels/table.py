"""The kernels of layers under a dropout mask that have a table of what each unit adds."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.families.masked_layers.geometry import BLOCK, TURN, WHOLE
from qbnnc.runtime.families.masked_layers.instructions import MaskedSums, UnitTable
from qbnnc.runtime.families.masked_layers.kernels.masked import draw_lists, finish, lists_of
from qbnnc.runtime.families.masked_layers.kernels.masked_sums import sum_codes, sum_numbers
from qbnnc.runtime.families.masked_layers.kernels.pair_products import (
    element_row,
    unit_row,
)
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
T = columns_of(UnitTable)
M = columns_of(MaskedSums)
_REQUANTIZE = int(Epilogue.REQUANTIZE)


@KERNELS.of(UnitTable)
@kernel
def unit_table(row, context, memory):
    arena, constants = memory.arena, memory.constants
    base, _, row_step = locate(row, T.input, context)
    target, _, target_row = locate(row, T.output, context)
    units, unit, stride = row[T.units], row[T.unit], row[T.stride]
    size = units * unit
    planes = arena[row[T.scratch] : row[T.scratch] + 2 * size + 2].view(np.int16)
    pairs = row[T.pairs]
    taps = (row[T.filters] + BLOCK - 1) // BLOCK * BLOCK * 4 * pairs
    a, w = arena.ctypes.data, constants.ctypes.data + row[T.unit_weights]
    offsets = constants.ctypes.data + row[T.pair_offsets]
    places = constants.ctypes.data + row[T.pixel_offsets]
    for r in range(context[CONTEXT.rows]):
        start = base + r * row_step
        codes = arena[start : start + row[T.channels] * row[T.height] * row[T.width]]
        copy_into_planes(row, codes, planes)
        at = target + r * target_row
        first = at + (units + 1) * stride
        flags = arena[first : first + (units + TURN - 1) // TURN * TURN]
        flags[:] = np.uint8(0)
        whole = at + units * stride
        begin_with_none(row, memory, whole // 4)
        for u in range(units):
            some = False
            for i in range(u * unit, (u + 1) * unit):
                some |= planes[i] != 0
            flags[u] = np.uint8(some)
            if not some:
                continue
            weights, to = w + u * taps, a + at + u * stride
            if pairs == 1 and row[T.pixels] == 1 and unit == 1:
                element_row(planes[u], weights, row[T.filters], to, a + whole)
            else:
                plane = a + row[T.scratch] + 2 * u * unit
                unit_row(
                    plane, offsets, pairs, places, row[T.pixels], weights, row[T.filters], to,
                    a + whole,
                )  # fmt: skip
        if row[T.whole] == 0:
            begin_with_none(row, memory, whole // 4)


@kernel
def begin_with_none(row, memory, start):
    """Write the sums of no unit to the row that begins at element `start`."""
    filters, first = row[T.filters], row[T.none] // 4
    none = memory.ints[first : first + filters]
    for p in range(row[T.pixels]):
        some = memory.arena32[start + p * filters : start + (p + 1) * filters]
        for n in range(filters):
            some[n] = none[n]


@kernel
def copy_into_planes(row, codes, planes):
    """planes[c][y][x] = code - zero, and 0 around the image."""
    channels, line = row[T.channels], row[T.plane_width]
    size, width = row[T.plane_height] * line, min(row[T.width], line - row[T.left])
    planes[:] = np.int16(0)
    for y in range(min(row[T.height], row[T.plane_height] - row[T.top])):
        to = (row[T.top] + y) * line + row[T.left]
        for c in range(channels):
            plane = planes[c * size + to : c * size + to + width]
            pixels = codes[y * row[T.width] * channels + c :]
            for x in range(width):
                plane[x] = np.int16(np.int32(pixels[x * channels]) - np.int32(row[T.zero]))


@KERNELS.of(MaskedSums)
@kernel
def masked_sums(row, context, memory):
    arena, constants = memory.arena, memory.constants
    table, _, table_row = locate(row, M.table, context)
    target, target_sample, target_row = locate(row, M.output, context)
    stride, flags = row[M.stride], (row[M.units] + 1) * row[M.stride]
    elements = (row[M.elements] + WHOLE - 1) // WHOLE * WHOLE
    step, lists, counts = lists_of(row)
    sums, a = counts + 8 * row[M.samples], arena.ctypes.data
    factor = constants.ctypes.data + row[M.factor]
    low, high, zero = bounds(row[M.low], row[M.high], row[M.zero])
    filters, adds = row[M.filters], row[M.adds]
    for r in range(context[CONTEXT.rows]):
        its_table = a + table + r * table_row
        its_base = its_table + row[M.units] * stride
        for first in range(0, context[CONTEXT.samples], row[M.samples]):
            some = min(row[M.samples], context[CONTEXT.samples] - first)
            draw_lists(row, context, arena, r, first, some, table + r * table_row + flags)
            out = target + first * target_sample + r * target_row
            if row[M.epilogue] == _REQUANTIZE:
                sum_codes(
                    its_table, its_base, stride, a + lists, step, a + counts, some, a + out,
                    target_sample, elements, filters, adds, factor, zero, low, high,
                )  # fmt: skip
                continue
            for s in range(some):
                sum_numbers(
                    its_table, its_base, stride, a + lists + s * step, step, a + counts + 8 * s, 1,
                    a + sums, 0, elements, filters, adds, factor, zero, low, high,
                )  # fmt: skip
                finish(row, memory, sums // 4, out + s * target_sample)
