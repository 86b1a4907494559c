"""What the interpreter calls: for each opcode one function, compiled and kept by itself.

All have one signature, three addresses, so that the interpreter calls them through a table. A call
takes a few nanoseconds, once for an instruction of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels import memory as MEMORY
from qbnnc.runtime.kernels.addressing import pointer
from qbnnc.runtime.kernels.convolution import convolve
from qbnnc.runtime.kernels.depthwise import depthwise
from qbnnc.runtime.kernels.elementwise import add, clamp, multiply, select
from qbnnc.runtime.kernels.jit import inlined
from qbnnc.runtime.kernels.masks import drop, keep_mask
from qbnnc.runtime.kernels.moves import copy, gather, load, transpose
from qbnnc.runtime.kernels.pooling import max_pool, sum_pool
from qbnnc.runtime.kernels.products import WORD_PRODUCTS
from qbnnc.runtime.kernels.quantization import dequantize, quantize, requantize
from qbnnc.runtime.kernels.sampling import draw_weight, eps_codes, fold_bias, sample_weight
from qbnnc.runtime.kernels.tables import lookup, lookup_real
from qbnnc.runtime.kernels.vectors import I64
from qbnnc.runtime.kernels.winograd import winograd
from qbnnc.runtime.program import COLUMNS, Opcode

Entry: TypeAlias = Callable[[int, int, int], None]  # row, context and memory: their addresses

_ADDRESSES = [types.int64] * 3
SIGNATURE = types.void(*_ADDRESSES)


class Memory(NamedTuple):
    """What instructions read and write; `arena32` is the arena, `ints` and `floats` the constants.

    uint8 [bytes], int32 or float32 [bytes / 4], float32 [elements].
    """

    x: Any
    arena: Any
    arena32: Any
    constants: Any
    ints: Any
    floats: Any
    out: Any


_BODIES: dict[Opcode, Callable[..., None]] = {
    Opcode.CONVOLVE: lambda row, context, m: convolve(
        row, context, m.arena, m.arena32, m.constants, m.ints, m.floats, m.out
    ),
    Opcode.DEPTHWISE: lambda row, context, m: depthwise(
        row, context, m.arena, m.arena32, m.constants, m.ints, m.floats, m.out
    ),
    Opcode.WINOGRAD: lambda row, context, m: winograd(row, context, m.arena, m.constants),
    Opcode.DRAW_WEIGHT: lambda row, context, m: draw_weight(
        row, context, m.arena, m.constants, m.ints
    ),
    Opcode.EPS_CODES: lambda row, context, m: eps_codes(row, context, m.arena, m.constants),
    Opcode.SAMPLE_WEIGHT: lambda row, context, m: sample_weight(
        row, context, m.arena, m.constants, m.ints
    ),
    Opcode.FOLD_BIAS: lambda row, context, m: fold_bias(row, context, m.arena, m.arena32, m.ints),
    Opcode.MAX_POOL: lambda row, context, m: max_pool(row, context, m.arena),
    Opcode.SUM_POOL: lambda row, context, m: sum_pool(row, context, m.arena, m.arena32),
    Opcode.QUANTIZE: lambda row, context, m: quantize(row, context, m.x, m.arena, m.floats),
    Opcode.REQUANTIZE: lambda row, context, m: requantize(
        row, context, m.arena, m.arena32, m.floats
    ),
    Opcode.DEQUANTIZE: lambda row, context, m: dequantize(
        row, context, m.arena, m.arena32, m.ints, m.floats, m.out
    ),
    Opcode.ADD: lambda row, context, m: add(row, context, m.arena, m.floats),
    Opcode.MULTIPLY: lambda row, context, m: multiply(row, context, m.arena, m.arena32, m.floats),
    Opcode.CLAMP: lambda row, context, m: clamp(row, context, m.arena),
    Opcode.SELECT: lambda row, context, m: select(row, context, m.arena),
    Opcode.KEEP_MASK: lambda row, context, m: keep_mask(row, context, m.arena),
    Opcode.DROP: lambda row, context, m: drop(row, context, m.arena),
    Opcode.LOOKUP: lambda row, context, m: lookup(row, context, m.arena, m.constants),
    Opcode.LOOKUP_REAL: lambda row, context, m: lookup_real(row, context, m.arena, m.floats, m.out),
    Opcode.TRANSPOSE: lambda row, context, m: transpose(row, context, m.arena, m.arena32),
    Opcode.LOAD: lambda row, context, m: load(row, context, m.arena, m.constants),
    Opcode.COPY: lambda row, context, m: copy(row, context, m.arena),
    Opcode.GATHER: lambda row, context, m: gather(row, context, m.arena, m.arena32, m.ints),
}


def opcodes() -> list[Opcode]:
    """Those that this instruction set has a kernel for; what takes longest to compile first."""
    return [o for o in _BODIES if o is not Opcode.WINOGRAD or chosen() in WORD_PRODUCTS]


def entry(opcode: Opcode) -> Entry:
    """The function that runs one instruction. Jitted by `qbnnc.runtime.compilation`."""
    body: Any = inlined(_BODIES[opcode])

    def run(row_at, context_at, memory_at):
        row = carray(pointer(row_at), COLUMNS, np.int64)
        context = carray(pointer(context_at), CONTEXT.SIZE, np.int64)
        memory = carray(pointer(memory_at), MEMORY.SIZE, np.int64)
        x = carray(pointer(memory[MEMORY.X]), memory[MEMORY.X_SIZE], np.float32)
        arena, size = pointer(memory[MEMORY.ARENA]), memory[MEMORY.ARENA_SIZE]
        constants, count = pointer(memory[MEMORY.CONSTANTS]), memory[MEMORY.CONSTANTS_SIZE]
        body(
            row,
            context,
            Memory(
                x,
                carray(arena, size, np.uint8),
                carray(arena, size // 4, np.int32),
                carray(constants, count, np.uint8),
                carray(constants, count // 4, np.int32),
                carray(constants, count // 4, np.float32),
                carray(pointer(memory[MEMORY.OUT]), memory[MEMORY.OUT_SIZE], np.float32),
            ),
        )

    return run


def _call(_, address, row, context, memory):
    """Calls an entry, by its address, on int64 arrays; passes on what it raises."""

    def generate(cg, builder, signature, args):
        arrays = zip(signature.args[1:], args[1:], strict=True)
        places = [
            builder.ptrtoint(cg.make_array(kind)(cg, builder, value=array).data, I64)
            for kind, array in arrays
        ]
        convention = cg.call_conv
        kind = convention.get_function_type(types.none, _ADDRESSES)
        function = builder.inttoptr(args[0], kind.as_pointer())
        status, _ = convention.call_function(builder, function, types.none, _ADDRESSES, places)
        with builder.if_then(status.is_error, likely=False):
            convention.return_status_propagate(builder, status)
        return cg.get_dummy_value()

    return types.none(address, row, context, memory), generate


call: Any = intrinsic(_call)
