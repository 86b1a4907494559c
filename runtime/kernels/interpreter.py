"""The interpreter: one function runs any program, block by block."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.np.numpy_support import carray

from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels import job as JOB
from qbnnc.runtime.kernels import memory as MEMORY
from qbnnc.runtime.kernels.addressing import pointer
from qbnnc.runtime.kernels.entries import call
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.program import COLUMNS

SIGNATURE = types.void(
    types.int64[::1],  # addresses of the entries, by opcode
    types.int64[:, ::1],  # jobs
    types.int64,  # seed, mod 2^64
    types.int64,  # number of the first row, for random numbers, mod 2^64
    types.Array(types.float32, 1, "C", readonly=True),  # x
    types.uint8[::1],  # arena
    types.float32[::1],  # out
)


@kernel
def enter(context, job, seed, first_row, block):
    """What kernels are told of a block."""
    batch, members = job[JOB.BATCH], job[JOB.MEMBERS]
    row = block[CONTEXT.BLOCK_START] + block[CONTEXT.BLOCK_FIRST_ROW]
    sample = block[CONTEXT.BLOCK_FIRST_SAMPLE] * members + job[JOB.MEMBER]
    context[CONTEXT.SAMPLES] = block[CONTEXT.BLOCK_SAMPLES]
    context[CONTEXT.ROWS] = block[CONTEXT.BLOCK_ROWS]
    context[CONTEXT.FIRST_ROW] = block[CONTEXT.BLOCK_FIRST_ROW]
    context[CONTEXT.SEED] = seed
    context[CONTEXT.SAMPLE_NUMBER] = sample
    context[CONTEXT.SAMPLE_STEP] = members
    context[CONTEXT.ROW_NUMBER] = first_row + row
    context[CONTEXT.INPUT_ROW] = row
    context[CONTEXT.OUT_FIRST] = sample * batch + row
    context[CONTEXT.OUT_STEP] = members * batch
    context[CONTEXT.OUT_COPIES] = job[JOB.SAMPLES] * batch


def execute(entries, jobs, seed, first_row, x, arena, out):
    """All blocks of all jobs, one after the other in one arena, whose length is a multiple of 8.

    Jitted by `qbnnc.runtime.compilation`.
    """
    context, memory = np.empty(CONTEXT.SIZE, np.int64), np.empty(MEMORY.SIZE, np.int64)
    memory[MEMORY.X], memory[MEMORY.X_SIZE] = x.ctypes.data, len(x)
    memory[MEMORY.ARENA], memory[MEMORY.ARENA_SIZE] = arena.ctypes.data, len(arena)
    memory[MEMORY.OUT], memory[MEMORY.OUT_SIZE] = out.ctypes.data, len(out)
    for j in range(len(jobs)):
        job = jobs[j]
        program = carray(pointer(job[JOB.PROGRAM]), (job[JOB.STEPS], COLUMNS), np.int64)
        ends = carray(pointer(job[JOB.ENDS]), 3, np.int64)
        blocks = job[JOB.BLOCKS]
        schedule = carray(pointer(job[JOB.SCHEDULE]), (blocks, CONTEXT.BLOCK_SIZE), np.int64)
        memory[MEMORY.CONSTANTS] = job[JOB.CONSTANTS]
        memory[MEMORY.CONSTANTS_SIZE] = job[JOB.CONSTANT_BYTES]
        for i in range(blocks):
            block = schedule[i]
            enter(context, job, seed, first_row, block)
            range_ = block[CONTEXT.BLOCK_RANGE]
            first = 0 if range_ == 0 else ends[range_ - 1]
            for step in range(first, ends[range_]):
                call(entries[program[step, 0]], program[step], context, memory)
