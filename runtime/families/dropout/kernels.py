"""Dropout masks from counters, and the codes that they keep: docs/semantics.md, section 5.

The lanes of a word are its bytes, read as little-endian 16-bit numbers. numba has no big-endian
target.
"""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.dropout.instructions import Drop, DropWeight, KeepMask, Select
from qbnnc.runtime.kernels.addressing import int32_at, locate
from qbnnc.runtime.kernels.codes import drop_codes, select_codes
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.random import derive, draw_words
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.layout import CODES, K_BLOCK
from qbnnc.runtime.program import Instruction, Place, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
K = columns_of(KeepMask)
D = columns_of(Drop)
S = columns_of(Select)
W = columns_of(DropWeight)
_CONSTANT = int(Place.CONSTANT)
_LOW_BITS, _HIGH_BITS = 0x7F7F7F7F, 0x80808080  # of four bytes


@kernel
def compare(lanes, flip, threshold, mask, count):
    """mask[i] = lanes[i] ^ flip >= threshold, as 1 or 0."""
    for i in range(count):
        mask[i] = np.uint8(1) if np.int32(lanes[i] ^ flip) >= threshold else np.uint8(0)


@KERNELS.of(KeepMask)
@kernel
def keep_mask(row, context, memory):
    arena = memory.arena
    target, target_sample, target_row = locate(row, K.output, context)
    scratch, channels, pixels = row[K.scratch], row[K.channels], row[K.pixels]
    lanes, threshold = channels * pixels, np.int32(row[K.threshold])
    flip = np.uint16(row[K.flip])
    count = (lanes + 3) // 4
    words = arena[scratch : scratch + 8 * count].view(np.uint64)
    drawn = arena[scratch : scratch + 8 * count].view(np.uint16)
    in_order = arena[scratch + 8 * count : scratch + 8 * count + lanes]
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[K.stream]))
    rows = 1 if row[K.shared] == 1 else context[CONTEXT.rows]
    for s in range(context[CONTEXT.samples]):
        number = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
        key = derive(stream_key, np.uint64(number))
        for r in range(rows):
            row_number = np.uint64(0)
            if row[K.shared] == 0:
                row_number = np.uint64(context[CONTEXT.row_number]) + np.uint64(r)
            draw_words(words, key, row_number * np.uint64(count))
            at = target + s * target_sample + r * target_row
            mask = arena[at : at + lanes]
            if pixels == 1 or channels == 1:
                compare(drawn, flip, threshold, mask, lanes)
            else:
                compare(drawn, flip, threshold, in_order, lanes)
                for c in range(channels):
                    plane = in_order[c * pixels : (c + 1) * pixels]
                    for p in range(pixels):
                        mask[p * channels + c] = plane[p]


@KERNELS.of(Drop)
@kernel
def drop(row, context, memory):
    """Draw the lanes of each copy and drop its codes; copies have multiples of 16 bytes."""
    arena = memory.arena
    base, sample_step, row_step = locate(row, D.input, context)
    target, target_sample, target_row = locate(row, D.output, context)
    scratch, size, zero = row[D.scratch], row[D.size], np.uint8(row[D.zero])
    threshold, count = np.uint16(row[D.threshold]), (size + 3) // 4
    flip = np.uint16(row[D.flip])
    words = arena[scratch : scratch + 8 * count].view(np.uint64)
    a, turns = arena.ctypes.data, (size + CODES - 1) // CODES
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[D.stream]))
    for s in range(context[CONTEXT.samples]):
        number = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
        key = derive(stream_key, np.uint64(number))
        for r in range(context[CONTEXT.rows]):
            row_number = np.uint64(context[CONTEXT.row_number]) + np.uint64(r)
            draw_words(words, key, row_number * np.uint64(count))
            at = a + base + s * sample_step + r * row_step
            to = a + target + s * target_sample + r * target_row
            drop_codes(a + scratch, at, to, flip, threshold, zero, turns)


@KERNELS.of(Select)
@kernel
def select(row, context, memory):
    arena = memory.arena
    base, sample_step, row_step = locate(row, S.input, context)
    mask_at, mask_sample, mask_row = locate(row, S.mask, context)
    target, target_sample, target_row = locate(row, S.output, context)
    pixels, channels, a = row[S.height] * row[S.width], row[S.channels], arena.ctypes.data
    one_for_all = row[S.step_channel] == 1 and row[S.step_y] == 0 and row[S.step_x] == 0
    zero, turns = np.uint8(row[S.zero]), (channels + CODES - 1) // CODES
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            at, mask = (
                base + s * sample_step + r * row_step,
                mask_at + s * mask_sample + r * mask_row,
            )
            to = target + s * target_sample + r * target_row
            if one_for_all:
                select_codes(a + at, a + mask, a + to, zero, pixels, channels, turns)
            else:
                select_image(row, arena[at:], arena[mask:], arena[to:])


@kernel
def select_image(row, codes, mask, selected):
    """Select the codes of one image, with any mask that broadcasts."""
    channels, zero, step = row[S.channels], np.uint8(row[S.zero]), row[S.step_channel]
    at = 0
    for y in range(row[S.height]):
        for x in range(row[S.width]):
            source, target = codes[at : at + channels], selected[at : at + channels]
            keep = mask[y * row[S.step_y] + x * row[S.step_x] :]
            if step == 1:
                for c in range(channels):
                    target[c] = ((source[c] ^ zero) & np.uint8(0 - np.int64(keep[c] != 0))) ^ zero
            else:
                for c in range(channels):
                    target[c] = (
                        (source[c] ^ zero) & np.uint8(0 - np.int64(keep[c * step] != 0))
                    ) ^ zero
            at += channels


@kernel
def keep_quads(codes, mask, kept, columns, zeros):
    """Keep four codes of each channel; `mask` is the address of the first channel's four bytes.

    A byte of the mask that is not 0 keeps its code.
    """
    old, new = codes.view(np.uint32), kept.view(np.uint32)
    for n in range(len(new)):
        keep = np.int64(np.uint32(int32_at(mask + columns[n])))
        keep = (((keep & _LOW_BITS) + _LOW_BITS | keep) & _HIGH_BITS) >> 7
        zero = np.int64(np.uint32(zeros[n]))
        new[n] = np.uint32(((np.int64(old[n]) ^ zero) & (keep * 255)) ^ zero)


@kernel
def keep_line(codes, mask, kept, rows, columns, zeros):
    """Keep the codes of one line: [channels][step]."""
    step, width = len(rows), len(columns)
    adjacent = step == K_BLOCK and rows[0] >= 0
    for j in range(1, step):
        adjacent = adjacent and rows[j] == rows[0] + j
    if adjacent:
        keep_quads(codes, mask.ctypes.data + rows[0], kept, columns, zeros)
        return
    for j in range(step):
        for n in range(width):
            at = n * step + j
            keep = rows[j] < 0 or mask[np.uint32(max(0, rows[j]) + columns[n])] != 0
            kept[at] = codes[at] if keep else np.uint8(zeros[n] & 255)


@KERNELS.of(DropWeight)
@kernel
def drop_weight(row, context, memory):
    """Drop weights block by block; the input is a constant or was made for each sample."""
    arena, ints = memory.arena, memory.ints
    base, sample_step, row_step = locate(row, W.input, context)
    mask_at, mask_sample, mask_row = locate(row, W.mask, context)
    target, target_sample, target_row = locate(row, W.output, context)
    source = memory.constants if row[W.input + 2] == _CONSTANT else arena
    padded, depth, step = row[W.padded], row[W.depth], row[W.step]
    rows = ints[row[W.rows] // 4 : row[W.rows] // 4 + depth]
    for s in range(context[CONTEXT.samples]):
        for r in range(context[CONTEXT.rows]):
            mask = arena[mask_at + s * mask_sample + r * mask_row :]
            start = base + s * sample_step + r * row_step
            at = target + s * target_sample + r * target_row
            for group in range(row[W.groups]):
                for done in range(0, padded, row[W.block]):
                    first, width = group * padded + done, min(row[W.block], padded - done)
                    columns = ints[row[W.columns] // 4 + first :][:width]
                    zeros = ints[row[W.zeros] // 4 + first :][:width]
                    count = width * step
                    for line in range(depth // step):
                        codes = source[start : start + count]
                        places = rows[line * step : (line + 1) * step]
                        keep_line(codes, mask, arena[at : at + count], places, columns, zeros)
                        start += count
                        at += count
