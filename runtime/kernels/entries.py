"""The functions that the interpreter calls: one for each opcode, compiled and kept by itself.

All have one signature, three addresses, so that the interpreter calls them through a table. A call
takes a few nanoseconds, once for an instruction of a block. An entry makes arrays of the addresses
and calls the kernel of its instruction: `kernel(row, context, memory)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from qbnnc.runtime.families.choice import kernels as choice
from qbnnc.runtime.families.contraction.kernels import convolution, depthwise, winograd
from qbnnc.runtime.families.dropout import kernels as dropout
from qbnnc.runtime.families.embedding import kernels as embedding
from qbnnc.runtime.families.masked_layers.kernels import recompute, table
from qbnnc.runtime.families.moves import kernels as moves
from qbnnc.runtime.families.noise import kernels as noise
from qbnnc.runtime.families.normalization import kernels as normalization
from qbnnc.runtime.families.pointwise import kernels as pointwise
from qbnnc.runtime.families.pooling import kernels as pooling
from qbnnc.runtime.families.products import kernels as products
from qbnnc.runtime.families.quantization import kernels as quantization
from qbnnc.runtime.families.sampled_weights import kernels as sampled_weights
from qbnnc.runtime.families.softmax import kernels as softmax
from qbnnc.runtime.kernels.addressing import numbers
from qbnnc.runtime.kernels.jit import Kernel
from qbnnc.runtime.kernels.records import ARRAYS
from qbnnc.runtime.kernels.vectors import I64
from qbnnc.runtime.program import Instruction

Entry: TypeAlias = Callable[[int, int, int], int]  # row, context and memory: their addresses

_ADDRESSES = [types.int64] * 3
SIGNATURE = types.int64(*_ADDRESSES)


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
    **choice.KERNELS,
    **embedding.KERNELS,
    **convolution.KERNELS,
    **depthwise.KERNELS,
    **winograd.KERNELS,
    **dropout.KERNELS,
    **recompute.KERNELS,
    **table.KERNELS,
    **moves.KERNELS,
    **noise.KERNELS,
    **normalization.KERNELS,
    **pointwise.KERNELS,
    **pooling.KERNELS,
    **products.KERNELS,
    **quantization.KERNELS,
    **sampled_weights.KERNELS,
    **softmax.KERNELS,
}


_named_tuple: Any = types.NamedTuple
_cpointer: Any = types.CPointer
_populate_array: Any = populate_array
# The address, the size, and the bytes of what the size counts, for each array.
_FIELDS: tuple[tuple[int, int, Any, int], ...] = (
    (ARRAYS.x, ARRAYS.x_size, types.float32, 1),
    (ARRAYS.arena, ARRAYS.arena_size, types.uint8, 1),
    (ARRAYS.arena, ARRAYS.arena_size, types.int32, 4),
    (ARRAYS.constants, ARRAYS.constants_size, types.uint8, 1),
    (ARRAYS.constants, ARRAYS.constants_size, types.int32, 4),
    (ARRAYS.constants, ARRAYS.constants_size, types.float32, 4),
    (ARRAYS.out, ARRAYS.out_size, types.float32, 1),
)
_MEMORY = _named_tuple([types.Array(kind, 1, "C") for _, _, kind, _ in _FIELDS], Memory)


def _memory_at(_, arrays):
    """Make arrays of the addresses and sizes in a record of `Arrays`."""

    def generate(context, builder, signature, args):
        def number(place: int) -> Any:
            return builder.load(builder.gep(args[0], [I64(place)]))

        made = list[Any]()
        for (at, size, kind, each), array_type in zip(_FIELDS, _MEMORY, strict=True):
            array, nbytes = context.make_array(array_type)(context, builder), kind.bitwidth // 8
            pointer = context.get_value_type(_cpointer(kind))
            _populate_array(
                array,
                data=builder.inttoptr(number(at), pointer),
                shape=[builder.udiv(number(size), I64(each))],
                strides=[I64(nbytes)],
                itemsize=I64(nbytes),
                meminfo=None,
            )
            made.append(array._getvalue())
        return context.make_tuple(builder, _MEMORY, made)

    return _MEMORY(arrays), generate


memory_at: Any = intrinsic(_memory_at)


def entry(instruction: type[Instruction]) -> Entry:
    """The function that runs one instruction. `qbnnc.runtime.compilation` compiles it."""
    body = KERNELS[instruction]

    def run(row, context, memory):
        body(numbers(row), numbers(context), memory_at(numbers(memory)))
        return 0

    return run


def _call(_, address, row, context, memory):
    """Call an entry by its address."""

    def generate(cg, builder, signature, args):
        kind = ir.FunctionType(I64, [I64] * len(_ADDRESSES))
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, args[1:])
        return cg.get_dummy_value()

    return types.none(types.int64, *_ADDRESSES), generate


call: Any = intrinsic(_call)
