"""Noise on activations from counters: docs/semantics.md, section 5."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.families.noise.instructions import NoiseCodes
from qbnnc.runtime.kernels.addressing import locate
from qbnnc.runtime.kernels.jit import Kernel, kernel
from qbnnc.runtime.kernels.random import derive, draw_words
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.program import Instruction, columns_of
from qbnnc.support.table import Table

KERNELS = Table[type[Instruction], Kernel]()
N = columns_of(NoiseCodes)


@KERNELS.of(NoiseCodes)
@kernel
def noise_codes(row, context, memory):
    arena = memory.arena
    target, target_sample, target_row = locate(row, N.output, context)
    scratch, channels, pixels = row[N.scratch], row[N.channels], row[N.pixels]
    count, table = (channels * pixels + 3) // 4, memory.constants[row[N.table] :]
    words = arena[scratch : scratch + 8 * count].view(np.uint64)
    lanes = arena[scratch : scratch + 8 * count].view(np.uint16)
    stream_key = derive(np.uint64(context[CONTEXT.seed]), np.uint64(row[N.stream]))
    rows = 1 if row[N.shared] == 1 else context[CONTEXT.rows]
    for s in range(context[CONTEXT.samples]):
        number = context[CONTEXT.sample_number] + s * context[CONTEXT.sample_step]
        key = derive(stream_key, np.uint64(number))
        for r in range(rows):
            row_number = np.uint64(0)
            if row[N.shared] == 0:
                row_number = np.uint64(context[CONTEXT.row_number]) + np.uint64(r)
            draw_words(words, key, row_number * np.uint64(count))
            codes = arena[target + s * target_sample + r * target_row :]
            for c in range(channels):
                plane = lanes[c * pixels : (c + 1) * pixels]
                for p in range(pixels):
                    codes[p * channels + c] = table[np.uint32(plane[p])]
