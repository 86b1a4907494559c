"""Dropout masks from counters: docs/semantics.md, section 5.

A word's lanes are found by looking at its bytes as little-endian 16-bit numbers; numba has no
big-endian target.
"""

from __future__ import annotations

import numpy as np

from qbnnc.ir.rng import GOLDEN
from qbnnc.runtime.instructions import Drop, KeepMask
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.codes import drop_codes
from qbnnc.runtime.kernels.jit import inlined, kernel
from qbnnc.runtime.packing import CODES
from qbnnc.runtime.program import columns_of

K = columns_of(KeepMask)
D = columns_of(Drop)
_ONE = np.uint64(1)


@inlined
def mix(z):
    """The output function of splitmix64, on uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def derive(parent, index):
    """mix(parent + GOLDEN*(index+1))."""
    return mix(parent + GOLDEN * (index + _ONE))


@kernel
def draw_words(words, key, first):
    """words[i] = word number first + i of a sample's key; the counter is a running sum."""
    start = key + GOLDEN * (first + _ONE)
    for i in range(len(words)):
        words[i] = mix(start + GOLDEN * np.uint64(i))


@kernel
def compare(lanes, flip, threshold, mask, count):
    """mask[i] = lanes[i] ^ flip >= threshold, 1 or 0."""
    for i in range(count):
        mask[i] = np.uint8(1) if np.int32(lanes[i] ^ flip) >= threshold else np.uint8(0)


@kernel
def keep_mask(row, context, arena):
    target, target_sample, target_row = locate(row, K.output, context)
    scratch, channels, pixels = row[K.scratch], row[K.channels], row[K.pixels]
    lanes, threshold = channels * pixels, np.int32(row[K.threshold])
    flip = np.uint16(row[K.flip])
    count = (lanes + 3) // 4
    words = arena[scratch : scratch + 8 * count].view(np.uint64)
    drawn = arena[scratch : scratch + 8 * count].view(np.uint16)
    in_order = arena[scratch + 8 * count : scratch + 8 * count + lanes]
    stream_key = derive(np.uint64(context[CONTEXT.SEED]), np.uint64(row[K.stream]))
    rows = 1 if row[K.shared] == 1 else context[CONTEXT.ROWS]
    for s in range(context[CONTEXT.SAMPLES]):
        number = context[CONTEXT.SAMPLE_NUMBER] + s * context[CONTEXT.SAMPLE_STEP]
        key = derive(stream_key, np.uint64(number))
        for r in range(rows):
            row_number = np.uint64(0)
            if row[K.shared] == 0:
                row_number = np.uint64(context[CONTEXT.ROW_NUMBER]) + np.uint64(r)
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


@kernel
def drop(row, context, arena):
    """Each copy's lanes, and at once its codes; copies are filled up to multiples of 16 bytes."""
    base, sample_step, row_step = locate(row, D.input, context)
    target, target_sample, target_row = locate(row, D.output, context)
    scratch, size, zero = row[D.scratch], row[D.size], np.uint8(row[D.zero])
    threshold, count = np.uint16(row[D.threshold]), (size + 3) // 4
    flip = np.uint16(row[D.flip])
    words = arena[scratch : scratch + 8 * count].view(np.uint64)
    a, turns = arena.ctypes.data, (size + CODES - 1) // CODES
    stream_key = derive(np.uint64(context[CONTEXT.SEED]), np.uint64(row[D.stream]))
    for s in range(context[CONTEXT.SAMPLES]):
        number = context[CONTEXT.SAMPLE_NUMBER] + s * context[CONTEXT.SAMPLE_STEP]
        key = derive(stream_key, np.uint64(number))
        for r in range(context[CONTEXT.ROWS]):
            row_number = np.uint64(context[CONTEXT.ROW_NUMBER]) + np.uint64(r)
            draw_words(words, key, row_number * np.uint64(count))
            at = a + base + s * sample_step + r * row_step
            to = a + target + s * target_sample + r * target_row
            drop_codes(a + scratch, at, to, flip, threshold, zero, turns)
