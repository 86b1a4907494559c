"""The parts that the kernels of all forms share: planes, lists and the ends of sums."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.families.masked_layers.geometry import TURN
from qbnnc.runtime.families.masked_layers.instructions import Masked
from qbnnc.runtime.families.masked_layers.kernels.unit_lists import list_units
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.random import derive, draw_words
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.program import columns_of

M = columns_of(Masked)
_DEQUANTIZE = int(Epilogue.DEQUANTIZE)


@kernel
def lists_of(row):
    """Return (bytes of a list, place of the lists, place of their lengths) in the scratch space."""
    turns = (row[M.units] + TURN - 1) // TURN
    lists = row[M.scratch] + 2 * TURN * turns
    return 4 * TURN * turns, lists, lists + row[M.samples] * 4 * TURN * turns


@kernel
def draw_lists(row, context, arena, r, first, some, flags):
    """Draw the lanes of some samples of row r, and list the units; `flags` is their place."""
    units, scratch, count = row[M.units], row[M.scratch], (row[M.units] + 3) // 4
    words = arena[scratch : scratch + 8 * count].view(np.uint64)
    step, lists, counts = lists_of(row)
    flip, limit, a = np.uint16(row[M.flip]), np.uint16(row[M.limit]), arena.ctypes.data
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[M.stream]))
    row_number = np.uint64(0)
    if row[M.shared] == 0:
        row_number = np.uint64(context[CONTEXT.row_number]) + np.uint64(r)
    for s in range(some):
        number = context[CONTEXT.sample_number] + (first + s) * context[CONTEXT.sample_step]
        draw_words(words, derive(stream_key, np.uint64(number)), row_number * np.uint64(count))
        its_list, its_count = a + lists + s * step, a + counts + 8 * s
        list_units(a + scratch, a + flags, its_list, its_count, flip, limit, units)


@kernel
def finish(row, memory, sums, at):
    """Finish the sums of one sample that are not requantised; the output begins at `at`."""
    acc = memory.arena32[sums : sums + row[M.elements]]
    filters = row[M.filters]
    if row[M.epilogue] == _DEQUANTIZE:
        start = row[M.factor] // 4
        factor = memory.floats[start : start + filters]
        for pixel in range(row[M.elements] // filters):
            target = memory.out[at + pixel * row[M.pixel_step] :]
            some = acc[pixel * filters : (pixel + 1) * filters]
            for n in range(filters):
                target[n * row[M.channel_step]] = np.float32(some[n]) * factor[n]
    else:
        target = memory.arena32[at // 4 : at // 4 + row[M.elements]]
        for n in range(row[M.elements]):
            target[n] = acc[n]
