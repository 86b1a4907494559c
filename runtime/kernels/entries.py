"""The functions that the interpreter calls: one for each opcode, compiled and kept by itself.

All have one signature, three addresses, so that the interpreter calls them through a table. A call
takes a few nanoseconds, once for an instruction of a block. An entry makes arrays of the addresses
and calls the kernel of its instruction: `kernel(row, context, memory)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from qbnnc.runtime.families import INSTRUCTIONS
from qbnnc.runtime.families.contraction.instructions import Winograd
from qbnnc.runtime.families.contraction.kernels import convolution, depthwise, winograd
from qbnnc.runtime.families.contraction.kernels.products import WORD_PRODUCTS
from qbnnc.runtime.families.dropout import kernels as dropout
from qbnnc.runtime.families.masked_layers.kernels import recompute, table
from qbnnc.runtime.families.moves import kernels as moves
from qbnnc.runtime.families.pointwise import kernels as pointwise
from qbnnc.runtime.families.pooling import kernels as pooling
from qbnnc.runtime.families.quantization import kernels as quantization
from qbnnc.runtime.families.sampled_weights import kernels as sampled_weights
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels.addressing import pointer
from qbnnc.runtime.kernels.jit import Kernel, inlined
from qbnnc.runtime.kernels.records import ARRAYS, CONTEXT
from qbnnc.runtime.kernels.vectors import I64
from qbnnc.runtime.program import COLUMNS, Instruction

Entry: TypeAlias = Callable[[int, int, int], None]  # row, context and memory: their addresses

_ADDRESSES = [types.int64] * 3
SIGNATURE = types.void(*_ADDRESSES)


class Memory(NamedTuple):
    """The arrays that instructions read and write.

    `arena` and `constants` are uint8 [bytes]. `arena32` is the arena as int32 [bytes / 4]; `ints`
    and `floats` are the constants as int32 and float32 [bytes / 4]. `x` and `out` are float32.
    """

    x: Any
    arena: Any
    arena32: Any
    constants: Any
    ints: Any
    floats: Any
    out: Any


KERNELS: dict[type[Instruction], Kernel] = {
    **convolution.KERNELS,
    **depthwise.KERNELS,
    **winograd.KERNELS,
    **dropout.KERNELS,
    **recompute.KERNELS,
    **table.KERNELS,
    **moves.KERNELS,
    **pointwise.KERNELS,
    **pooling.KERNELS,
    **quantization.KERNELS,
    **sampled_weights.KERNELS,
}


def compiled_instructions() -> list[type[Instruction]]:
    """The instructions that this instruction set has a kernel for, the slowest to compile first."""
    missing = set() if chosen() in WORD_PRODUCTS else {Winograd}
    return [instruction for instruction in INSTRUCTIONS if instruction not in missing]


def entry(instruction: type[Instruction]) -> Entry:
    """The function that runs one instruction. `qbnnc.runtime.compilation` compiles it."""
    body: Any = inlined(KERNELS[instruction].py_func)  # else LLVM would compile it twice

    def run(row_at, context_at, memory_at):
        row = carray(pointer(row_at), COLUMNS, np.int64)
        context = carray(pointer(context_at), CONTEXT.SIZE, np.int64)
        arrays = carray(pointer(memory_at), ARRAYS.SIZE, np.int64)
        x = carray(pointer(arrays[ARRAYS.x]), arrays[ARRAYS.x_size], np.float32)
        arena, size = pointer(arrays[ARRAYS.arena]), arrays[ARRAYS.arena_size]
        constants, count = pointer(arrays[ARRAYS.constants]), arrays[ARRAYS.constants_size]
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
                carray(pointer(arrays[ARRAYS.out]), arrays[ARRAYS.out_size], np.float32),
            ),
        )

    return run


def _call(_, address, row, context, memory):
    """Call an entry by its address, with int64 arrays; pass on its exceptions."""

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
