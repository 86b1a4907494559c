"""The interpreter, which runs any program block by block."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.np.numpy_support import carray

from qbnnc.runtime.kernels.addressing import on_stack, pointer
from qbnnc.runtime.kernels.checks import checked
from qbnnc.runtime.kernels.entries import call
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.records import ARRAYS, BLOCK, CONTEXT, JOB, Status
from qbnnc.runtime.program import COLUMNS

SIGNATURE = types.int64(
    types.int64[::1],  # addresses of the entries, by opcode
    types.int64[:, ::1],  # jobs
    types.int64,  # seed, mod 2^64
    types.int64,  # number of the first row, for random numbers, mod 2^64
    types.Array(types.float32, 1, "C", readonly=True),  # x
    types.uint8[::1],  # arena
    types.float32[::1],  # out
)

_DONE = int(Status.DONE)
_new_context, _new_memory = on_stack(CONTEXT.SIZE), on_stack(ARRAYS.SIZE)


@kernel
def enter(context, job, seed, first_row, block):
    """Tell kernels of a block: write its context."""
    batch, members = job[JOB.batch], job[JOB.members]
    row = block[BLOCK.start] + block[BLOCK.first_row]
    sample = block[BLOCK.first_sample] * members + job[JOB.member]
    context[CONTEXT.samples] = block[BLOCK.samples]
    context[CONTEXT.rows] = block[BLOCK.rows]
    context[CONTEXT.first_row] = block[BLOCK.first_row]
    context[CONTEXT.seed] = seed
    context[CONTEXT.sample_number] = sample
    context[CONTEXT.sample_step] = members
    context[CONTEXT.row_number] = first_row + row
    context[CONTEXT.input_row] = row
    context[CONTEXT.out_first] = sample * batch + row
    context[CONTEXT.out_step] = members * batch
    context[CONTEXT.out_copies] = job[JOB.samples] * batch


@kernel
def run(entries, jobs, seed, first_row, x_at, x_size, arena_at, arena_size, out_at, out_size):
    """Run all blocks of all jobs, one after the other in one arena; arrays are addresses."""
    context = carray(pointer(_new_context()), CONTEXT.SIZE, np.int64)
    memory = carray(pointer(_new_memory()), ARRAYS.SIZE, np.int64)
    memory[ARRAYS.x], memory[ARRAYS.x_size] = x_at, x_size
    memory[ARRAYS.arena], memory[ARRAYS.arena_size] = arena_at, arena_size
    memory[ARRAYS.out], memory[ARRAYS.out_size] = out_at, out_size
    for j in range(len(jobs)):
        job = jobs[j]
        program = carray(pointer(job[JOB.program]), (job[JOB.steps], COLUMNS), np.int64)
        ends = carray(pointer(job[JOB.ends]), 3, np.int64)
        blocks = job[JOB.blocks]
        schedule = carray(pointer(job[JOB.schedule]), (blocks, BLOCK.SIZE), np.int64)
        memory[ARRAYS.constants] = job[JOB.constants]
        memory[ARRAYS.constants_size] = job[JOB.constant_bytes]
        for i in range(blocks):
            block = schedule[i]
            enter(context, job, seed, first_row, block)
            phase = block[BLOCK.phase]
            first = 0 if phase == 0 else ends[phase - 1]
            for step in range(first, ends[phase]):
                call(entries[program[step, 0]], program[step], context, memory)


def execute(entries, jobs, seed, first_row, x, arena, out):
    """Check x and out, and run the jobs; return a Status.

    The length of the arena is a multiple of 8. `qbnnc.runtime.compilation` compiles this function.
    """
    x_at, out_at, arena_at = x.ctypes.data, out.ctypes.data, arena.ctypes.data
    status = checked(x_at, len(x), out_at, len(out))
    if status == _DONE:
        run(entries, jobs, seed, first_row, x_at, len(x), arena_at, len(arena), out_at, len(out))
    return status
