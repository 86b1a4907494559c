"""The interpreter: one function runs any program, block by block."""

from __future__ import annotations

import numpy as np
from numba import types
from numba.np.numpy_support import carray

from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels import job as JOB
from qbnnc.runtime.kernels.addressing import pointer
from qbnnc.runtime.kernels.convolution import convolve
from qbnnc.runtime.kernels.depthwise import depthwise
from qbnnc.runtime.kernels.elementwise import add, clamp, multiply, select
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.masks import drop, keep_mask
from qbnnc.runtime.kernels.moves import copy, gather, load, transpose
from qbnnc.runtime.kernels.pooling import max_pool, sum_pool
from qbnnc.runtime.kernels.products import WORD_PRODUCTS
from qbnnc.runtime.kernels.quantization import dequantize, quantize, requantize
from qbnnc.runtime.kernels.sampling import draw_weight, eps_codes, fold_bias, sample_weight
from qbnnc.runtime.kernels.tables import lookup, lookup_real
from qbnnc.runtime.kernels.winograd import winograd
from qbnnc.runtime.program import COLUMNS, Opcode

CONVOLVE, MAX_POOL, SUM_POOL = int(Opcode.CONVOLVE), int(Opcode.MAX_POOL), int(Opcode.SUM_POOL)
QUANTIZE, REQUANTIZE = int(Opcode.QUANTIZE), int(Opcode.REQUANTIZE)
DEQUANTIZE, ADD, CLAMP = int(Opcode.DEQUANTIZE), int(Opcode.ADD), int(Opcode.CLAMP)
SELECT, KEEP_MASK = int(Opcode.SELECT), int(Opcode.KEEP_MASK)
TRANSPOSE, LOAD, DEPTHWISE = int(Opcode.TRANSPOSE), int(Opcode.LOAD), int(Opcode.DEPTHWISE)
EPS_CODES, SAMPLE_WEIGHT = int(Opcode.EPS_CODES), int(Opcode.SAMPLE_WEIGHT)
FOLD_BIAS, LOOKUP, LOOKUP_REAL = int(Opcode.FOLD_BIAS), int(Opcode.LOOKUP), int(Opcode.LOOKUP_REAL)
MULTIPLY, COPY, GATHER = int(Opcode.MULTIPLY), int(Opcode.COPY), int(Opcode.GATHER)
DRAW_WEIGHT, WINOGRAD = int(Opcode.DRAW_WEIGHT), int(Opcode.WINOGRAD)
DROP = int(Opcode.DROP)
WITH_WINOGRAD = chosen() in WORD_PRODUCTS  # a branch on a constant is left out before it compiles

SIGNATURE = types.void(
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


@kernel
def run(program, first, last, context, x, arena, constants, out):
    """Instructions first..last - 1 over the block that `context` names."""
    arena32 = arena.view(np.int32)
    ints, floats = constants.view(np.int32), constants.view(np.float32)
    for i in range(first, last):
        row = program[i]
        opcode = row[0]
        if opcode == CONVOLVE:
            convolve(row, context, arena, arena32, constants, ints, floats, out)
        elif opcode == MAX_POOL:
            max_pool(row, context, arena)
        elif opcode == SUM_POOL:
            sum_pool(row, context, arena, arena32)
        elif opcode == QUANTIZE:
            quantize(row, context, x, arena, floats)
        elif opcode == REQUANTIZE:
            requantize(row, context, arena, arena32, floats)
        elif opcode == DEQUANTIZE:
            dequantize(row, context, arena, arena32, ints, floats, out)
        elif opcode == ADD:
            add(row, context, arena, floats)
        elif opcode == CLAMP:
            clamp(row, context, arena)
        elif opcode == SELECT:
            select(row, context, arena)
        elif opcode == KEEP_MASK:
            keep_mask(row, context, arena)
        elif opcode == DROP:
            drop(row, context, arena)
        elif opcode == TRANSPOSE:
            transpose(row, context, arena, arena32)
        elif opcode == LOAD:
            load(row, context, arena, constants)
        elif opcode == DEPTHWISE:
            depthwise(row, context, arena, arena32, constants, ints, floats, out)
        elif opcode == EPS_CODES:
            eps_codes(row, context, arena, constants)
        elif opcode == SAMPLE_WEIGHT:
            sample_weight(row, context, arena, constants, ints)
        elif opcode == DRAW_WEIGHT:
            draw_weight(row, context, arena, constants, ints)
        elif opcode == FOLD_BIAS:
            fold_bias(row, context, arena, arena32, ints)
        elif opcode == LOOKUP:
            lookup(row, context, arena, constants)
        elif opcode == LOOKUP_REAL:
            lookup_real(row, context, arena, floats, out)
        elif opcode == MULTIPLY:
            multiply(row, context, arena, arena32, floats)
        elif opcode == COPY:
            copy(row, context, arena)
        elif opcode == GATHER:
            gather(row, context, arena, arena32, ints)
        elif WITH_WINOGRAD and opcode == WINOGRAD:
            winograd(row, context, arena, constants)


def execute(jobs, seed, first_row, x, arena, out):
    """All blocks of all jobs, one after the other in one arena, whose length is a multiple of 8.

    Jitted by `qbnnc.runtime.cache`.
    """
    context = np.empty(CONTEXT.SIZE, np.int64)
    for j in range(len(jobs)):
        job = jobs[j]
        program = carray(pointer(job[JOB.PROGRAM]), (job[JOB.STEPS], COLUMNS), np.int64)
        ends = carray(pointer(job[JOB.ENDS]), 3, np.int64)
        blocks = job[JOB.BLOCKS]
        schedule = carray(pointer(job[JOB.SCHEDULE]), (blocks, CONTEXT.BLOCK_SIZE), np.int64)
        constants = carray(pointer(job[JOB.CONSTANTS]), job[JOB.CONSTANT_BYTES], np.uint8)
        for i in range(blocks):
            block = schedule[i]
            enter(context, job, seed, first_row, block)
            range_ = block[CONTEXT.BLOCK_RANGE]
            first = 0 if range_ == 0 else ends[range_ - 1]
            run(program, first, ends[range_], context, x, arena, constants, out)
