"""The interpreter: one function runs any program, block by block."""

from __future__ import annotations

import numpy as np
from numba import types

from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.convolution import convolve
from qbnnc.runtime.kernels.depthwise import depthwise
from qbnnc.runtime.kernels.elementwise import add, clamp, multiply, select
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.masks import keep_mask
from qbnnc.runtime.kernels.moves import copy, gather, load, transpose
from qbnnc.runtime.kernels.pooling import max_pool, sum_pool
from qbnnc.runtime.kernels.products import WORD_PRODUCTS
from qbnnc.runtime.kernels.quantization import dequantize, quantize, requantize
from qbnnc.runtime.kernels.sampling import draw_weight, eps_codes, fold_bias, sample_weight
from qbnnc.runtime.kernels.tables import lookup, lookup_real
from qbnnc.runtime.kernels.winograd import winograd
from qbnnc.runtime.program import Opcode

CONVOLVE, MAX_POOL, SUM_POOL = int(Opcode.CONVOLVE), int(Opcode.MAX_POOL), int(Opcode.SUM_POOL)
QUANTIZE, REQUANTIZE = int(Opcode.QUANTIZE), int(Opcode.REQUANTIZE)
DEQUANTIZE, ADD, CLAMP = int(Opcode.DEQUANTIZE), int(Opcode.ADD), int(Opcode.CLAMP)
SELECT, KEEP_MASK = int(Opcode.SELECT), int(Opcode.KEEP_MASK)
TRANSPOSE, LOAD, DEPTHWISE = int(Opcode.TRANSPOSE), int(Opcode.LOAD), int(Opcode.DEPTHWISE)
EPS_CODES, SAMPLE_WEIGHT = int(Opcode.EPS_CODES), int(Opcode.SAMPLE_WEIGHT)
FOLD_BIAS, LOOKUP, LOOKUP_REAL = int(Opcode.FOLD_BIAS), int(Opcode.LOOKUP), int(Opcode.LOOKUP_REAL)
MULTIPLY, COPY, GATHER = int(Opcode.MULTIPLY), int(Opcode.COPY), int(Opcode.GATHER)
DRAW_WEIGHT, WINOGRAD = int(Opcode.DRAW_WEIGHT), int(Opcode.WINOGRAD)
WITH_WINOGRAD = chosen() in WORD_PRODUCTS  # a branch on a constant is left out before it compiles

SIGNATURE = types.void(
    types.Array(types.int64, 2, "C", readonly=True),  # program
    types.int64[::1],  # where its ranges end
    types.int64[:, ::1],  # schedule
    types.int64[::1],  # request
    types.Array(types.float32, 1, "C", readonly=True),  # x
    types.uint8[::1],  # arena
    types.Array(types.uint8, 1, "C", readonly=True),  # constants
    types.float32[::1],  # out
)


@kernel
def enter(context, request, block):
    """What kernels are told of a block."""
    batch, members = request[CONTEXT.REQUEST_BATCH], request[CONTEXT.REQUEST_MEMBERS]
    row = block[CONTEXT.BLOCK_START] + block[CONTEXT.BLOCK_FIRST_ROW]
    sample = block[CONTEXT.BLOCK_FIRST_SAMPLE] * members + request[CONTEXT.REQUEST_MEMBER]
    context[CONTEXT.SAMPLES] = block[CONTEXT.BLOCK_SAMPLES]
    context[CONTEXT.ROWS] = block[CONTEXT.BLOCK_ROWS]
    context[CONTEXT.FIRST_ROW] = block[CONTEXT.BLOCK_FIRST_ROW]
    context[CONTEXT.SEED] = request[CONTEXT.REQUEST_SEED]
    context[CONTEXT.SAMPLE_NUMBER] = sample
    context[CONTEXT.SAMPLE_STEP] = members
    context[CONTEXT.ROW_NUMBER] = request[CONTEXT.REQUEST_ROW] + row
    context[CONTEXT.INPUT_ROW] = row
    context[CONTEXT.OUT_FIRST] = sample * batch + row
    context[CONTEXT.OUT_STEP] = members * batch
    context[CONTEXT.OUT_COPIES] = request[CONTEXT.REQUEST_SAMPLES] * batch


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


def execute(program, ends, schedule, request, x, arena, constants, out):
    """All blocks of a schedule. Lengths of arena and constants are multiples of 8.

    Jitted by `qbnnc.runtime.cache`.
    """
    context = np.empty(CONTEXT.SIZE, np.int64)
    for i in range(len(schedule)):
        block = schedule[i]
        enter(context, request, block)
        range_ = block[CONTEXT.BLOCK_RANGE]
        first = 0 if range_ == 0 else ends[range_ - 1]
        run(program, first, ends[range_], context, x, arena, constants, out)
