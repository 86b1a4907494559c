"""The kernels of layers under a dropout mask that compute the products of the listed units."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.families.masked_layers.geometry import TURN
from qbnnc.runtime.families.masked_layers.instructions import MaskedProducts, UnitPlanes
from qbnnc.runtime.families.masked_layers.kernels.masked import draw_lists, finish, lists_of
from qbnnc.runtime.families.masked_layers.kernels.unit_products import unit_products
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.rounding import bounds
from qbnnc.runtime.program import Instruction, Place, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
P = columns_of(UnitPlanes)
M = columns_of(MaskedProducts)
_CONSTANT, _REQUANTIZE = int(Place.CONSTANT), int(Epilogue.REQUANTIZE)
MOST = 16  # filters of a vector, at most


@KERNELS.of(UnitPlanes)
@kernel
def unit_planes(row, context, memory):
    arena = memory.arena
    base, _, row_step = locate(row, P.input, context)
    target, _, target_row = locate(row, P.output, context)
    channels, line, unit = row[P.channels], row[P.plane_width], row[P.unit]
    size, width = row[P.plane_height] * line, min(row[P.width], line - row[P.left])
    zero = np.uint8(row[P.zero])
    for r in range(context[CONTEXT.rows]):
        codes = arena[base + r * row_step :]
        planes = arena[target + r * target_row :]
        planes[: channels * size] = zero
        for y in range(min(row[P.height], row[P.plane_height] - row[P.top])):
            to = (row[P.top] + y) * line + row[P.left]
            pixels = codes[y * row[P.width] * channels :]
            for c in range(channels):
                plane = planes[c * size + to : c * size + to + width]
                for x in range(width):
                    plane[x] = pixels[x * channels + c]
        flags = planes[channels * size : channels * size + (row[P.units] + TURN - 1) // TURN * TURN]
        flags[:] = np.uint8(0)
        for u in range(row[P.units]):
            some = False
            for i in range(u * unit, (u + 1) * unit):
                some |= planes[i] != zero
            flags[u] = np.uint8(some)


@KERNELS.of(MaskedProducts)
@kernel
def masked_products(row, context, memory):
    arena, constants = memory.arena, memory.constants.ctypes.data
    planes, _, planes_row = locate(row, M.planes, context)
    base, _, base_row = locate(row, M.base, context)
    target, target_sample, target_row = locate(row, M.output, context)
    step, lists, counts = lists_of(row)
    shifts, shift_step = counts + 8 * row[M.samples], 4 * (row[M.filters] + MOST)
    sums, a = shifts + row[M.samples] * shift_step, arena.ctypes.data
    of_base, base_step = a + base, 4 * row[M.filters]
    if row[M.base + 2] == _CONSTANT:
        of_base, base_step = constants + base, 0
    offsets, places = constants + row[M.k_offsets], constants + row[M.pixel_offsets]
    weights, factor = constants + row[M.unit_weights], constants + row[M.factor]
    low, high, zero = bounds(row[M.low], row[M.high], row[M.zero])
    unit, k_blocks, pixels, units = row[M.unit], row[M.k_blocks], row[M.pixels], row[M.units]
    filters, adds = row[M.filters], row[M.adds]
    lengths = arena[counts : counts + 8 * row[M.samples]].view(np.int64)
    for r in range(context[CONTEXT.rows]):
        its_planes, its_base = planes + r * planes_row, of_base + r * base_row
        for first in range(0, context[CONTEXT.samples], row[M.samples]):
            some = min(row[M.samples], context[CONTEXT.samples] - first)
            draw_lists(row, context, arena, r, first, some, its_planes + units * unit)
            for s in range(some):
                place = (shifts + s * shift_step) // 4
                add_shifts(row, memory, (lists + s * step) // 4, lengths[s], place)
            out = target + first * target_sample + r * target_row
            if row[M.epilogue] == _REQUANTIZE:
                unit_products(
                    a + its_planes, unit, a + lists, step, a + counts, some, offsets, k_blocks,
                    places, pixels, weights, units, filters, its_base, base_step, a + shifts,
                    shift_step, adds, factor, a + out, target_sample, 1, zero, low, high,
                )  # fmt: skip
                continue
            for s in range(some):
                unit_products(
                    a + its_planes, unit, a + lists + s * step, step, a + counts + 8 * s, 1,
                    offsets, k_blocks, places, pixels, weights, units, filters, its_base,
                    base_step, a + shifts + s * shift_step, shift_step, adds, factor, a + sums, 0,
                    0, zero, low, high,
                )  # fmt: skip
                finish(row, memory, sums // 4, out + s * target_sample)


@kernel
def add_shifts(row, memory, listed, count, target):
    """Sum up the shifts of the units in a list; int32 wraps."""
    filters = row[M.filters]
    total = memory.arena32[target : target + filters + MOST]
    total[:] = np.int32(0)
    if row[M.shifts] < 0:
        return
    for i in range(count):
        start = row[M.shifts] // 4 + memory.arena32[listed + i] * filters
        shifts = memory.ints[start : start + filters]
        for n in range(filters):
            total[n] = np.int32(total[n] + shifts[n])
