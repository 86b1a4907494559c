"""Where in memory the elements of a block lie.

A block is `samples` x `rows` copies, sample-major. `locate` turns the three columns of a Buffer
into (base, step of a sample, step of a row), in the Buffer's units.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from qbnnc.runtime.kernels import context as CONTEXT
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.program import Place

_COPY, _ROW, _SAMPLE = int(Place.COPY), int(Place.ROW), int(Place.SAMPLE)
_OUT, _INPUT = int(Place.OUT), int(Place.INPUT)


@kernel
def locate(row, column, context):
    """(base, sample step, row step) of the Buffer in three columns of a program's row."""
    offset, stride, place = row[column], row[column + 1], row[column + 2]
    if place == _COPY:
        return offset, stride * context[CONTEXT.ROWS], stride
    if place == _ROW:
        return offset + context[CONTEXT.FIRST_ROW] * stride, 0, stride
    if place == _SAMPLE:
        return offset, stride, 0
    if place == _OUT:
        base = offset * context[CONTEXT.OUT_COPIES] + context[CONTEXT.OUT_FIRST] * stride
        return base, context[CONTEXT.OUT_STEP] * stride, stride
    if place == _INPUT:
        return context[CONTEXT.INPUT_ROW] * stride, 0, stride
    return offset, 0, 0


def _pointer(_, address):
    """What numba's carray takes, of an address."""

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), generate


pointer: Any = intrinsic(_pointer)
