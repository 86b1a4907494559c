"""The addresses of the elements of a block.

A block has `samples` x `rows` copies, sample-major. `locate` turns the three columns of a Buffer
into (base, step of a sample, step of a row), in the Buffer's units.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.records import CONTEXT
from qbnnc.runtime.kernels.vectors import I32, I64, load
from qbnnc.runtime.program import Place

_COPY, _ROW, _SAMPLE = int(Place.COPY), int(Place.ROW), int(Place.SAMPLE)
_cpointer: Any = types.CPointer
_alloca_once: Any = cgutils.alloca_once
_OUT, _INPUT = int(Place.OUT), int(Place.INPUT)


@kernel
def locate(row, column, context):
    """Return (base, sample step, row step) of the Buffer in three columns of a program's row."""
    offset, stride, place = row[column], row[column + 1], row[column + 2]
    if place == _COPY:
        return offset, stride * context[CONTEXT.rows], stride
    if place == _ROW:
        return offset + context[CONTEXT.first_row] * stride, 0, stride
    if place == _SAMPLE:
        return offset, stride, 0
    if place == _OUT:
        base = offset * context[CONTEXT.out_copies] + context[CONTEXT.out_first] * stride
        return base, context[CONTEXT.out_step] * stride, stride
    if place == _INPUT:
        return offset + context[CONTEXT.input_row] * stride, 0, stride
    return offset, 0, 0


def _pointer(_, address):
    """Turn an address into the pointer that numba's carray takes."""

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


pointer: Any = intrinsic(_pointer)


def _pointer_to(kind: types.Type) -> Any:
    """Make a function that turns an address into a pointer, whose numbers are read by place.

    An array would carry its shape and strides along, which many kernels never ask for. Each number
    that is read takes a fifth of an array's LLVM IR.
    """

    def typing(_, address):
        def generate(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return _cpointer(kind)(types.int64), generate

    return intrinsic(typing)


numbers, reals = _pointer_to(types.int64), _pointer_to(types.float32)


def on_stack(count: int) -> Any:
    """Make a function that gives the address of int64 [count] in the frame of its caller."""

    def room(_):
        def generate(context, builder, signature, args):
            return builder.ptrtoint(_alloca_once(builder, ir.ArrayType(I64, count)), I64)

        return types.int64(), generate

    return intrinsic(room)


def _int32_at(_, address):
    """Load the int32 at any address."""

    def generate(context, builder, signature, args):
        return load(builder, args[0], I32)

    return types.int32(types.int64), generate


int32_at: Any = intrinsic(_int32_at)
