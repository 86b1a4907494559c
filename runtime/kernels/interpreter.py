"""The interpreter, which runs any program block by block."""

from __future__ import annotations

from numba import types

from qbnnc.runtime.kernels.addressing import numbers, on_stack
from qbnnc.runtime.kernels.checks import checked
from qbnnc.runtime.kernels.entries import call
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.records import ARRAYS, BLOCK, CONTEXT, JOB, Status
from qbnnc.runtime.program import COLUMNS

SIGNATURE = types.int64(*[types.int64] * 11)

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
def run(
    entries_at, jobs_at, job_count, seed, first_row, x_at, x_size, arena_at, arena_size, out_at,
    out_size,
):  # fmt: skip
    """Run all blocks of all jobs, one after the other in one arena; arrays are addresses."""
    entries, context_at, memory_at = numbers(entries_at), _new_context(), _new_memory()
    context, memory = numbers(context_at), numbers(memory_at)
    memory[ARRAYS.x], memory[ARRAYS.x_size] = x_at, x_size
    memory[ARRAYS.arena], memory[ARRAYS.arena_size] = arena_at, arena_size
    memory[ARRAYS.out], memory[ARRAYS.out_size] = out_at, out_size
    for j in range(job_count):
        job = numbers(jobs_at + 8 * JOB.SIZE * j)
        program, ends = job[JOB.program], numbers(job[JOB.ends])
        memory[ARRAYS.constants] = job[JOB.constants]
        memory[ARRAYS.constants_size] = job[JOB.constant_bytes]
        for i in range(job[JOB.blocks]):
            block = numbers(job[JOB.schedule] + 8 * BLOCK.SIZE * i)
            enter(context, job, seed, first_row, block)
            phase = block[BLOCK.phase]
            first = 0 if phase == 0 else ends[phase - 1]
            for step in range(first, ends[phase]):
                row = program + 8 * COLUMNS * step
                call(entries[numbers(row)[0]], row, context_at, memory_at)


def execute(
    entries, jobs, job_count, seed, first_row, x, x_size, arena, arena_size, out, out_size
):  # fmt: skip
    """Check x and out, and run the jobs; return a Status.

    Arrays are addresses. The length of the arena is a multiple of 8. `qbnnc.runtime.compilation`
    compiles this function.
    """
    status = checked(x, x_size, out, out_size)
    if status == _DONE:
        run(
            entries, jobs, job_count, seed, first_row, x, x_size, arena, arena_size, out, out_size
        )  # fmt: skip
    return status
