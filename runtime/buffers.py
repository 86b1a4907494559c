"""Arrays that callers give to be filled: what `Session.predict_into` demands of `out`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

from qbnnc.ir.types import Array
from qbnnc.runtime.outputs import Float32
from qbnnc.runtime.plan import Plan
from qbnnc.support.errors import InputError

FLOAT32 = np.dtype(np.float32)
_NAME = "out"
# Bits of `ndarray.flags.num`, which is one attribute where the flags by name are several.
_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400
_READABLE, _FILLABLE = _C_CONTIGUOUS | _ALIGNED, _C_CONTIGUOUS | _ALIGNED | _WRITEABLE


def is_readable(x: object) -> TypeGuard[Float32]:
    """Tell whether kernels can read x as it is; its shape is not looked at."""
    return type(x) is np.ndarray and x.dtype is FLOAT32 and x.flags.num & _READABLE == _READABLE


def is_fillable(out: object) -> bool:
    """Tell whether kernels can fill `out` as it is; its shape is not looked at."""
    return (
        type(out) is np.ndarray and out.dtype is FLOAT32 and out.flags.num & _FILLABLE == _FILLABLE
    )


def expect_fillable(out: object) -> Float32:
    """Return `out`; raise InputError if it is no array that kernels can fill."""
    if not isinstance(out, np.ndarray):
        raise InputError(f"a {type(out).__name__}", _NAME, "give a numpy array of float32")
    if out.dtype != FLOAT32:
        raise InputError(
            f"the element type is {out.dtype}", _NAME, "give an array of float32 in native order"
        )
    if not out.flags.c_contiguous:
        raise InputError("not C-contiguous", _NAME, "give an array of its own, not a strided view")
    if not out.flags.aligned:
        raise InputError("not aligned", _NAME, "let it begin at a multiple of 4 bytes")
    if not out.flags.writeable:
        raise InputError("read-only", _NAME, "give an array that may be written to")
    return np.asarray(out)


def samples_in(out: Array, plan: Plan, rows: int, members: int) -> int:
    """Return L, as the shape of `out` tells it; raise InputError for a shape that does not fit.

    `plan` is that of any member. Networks of one output take [L, rows, *shape], others a flat
    array of all outputs. Without rows the flat array is empty, and L is the number of members.
    """
    if len(plan.outputs) == 1:
        shape = plan.outputs[0].shape
        if out.shape[1:] == (rows, *shape) and out.ndim:
            return len(out)
        wanted = _shown(("samples", rows, *shape))
        raise InputError(f"the shape is {_shown(out.shape)}", _NAME, f"give {wanted}")
    copies, rest = divmod(out.size, max(1, rows * plan.size))
    if out.ndim != 1 or rest or (copies == 0) is not (rows == 0):
        raise InputError(
            f"the shape is {_shown(out.shape)}",
            _NAME,
            f"give [samples * {rows * plan.size}], the {len(plan.outputs)} outputs one after the "
            "other; `Session.new_out` makes one",
        )
    return copies if rows else members


def shape_of_out(plan: Plan, rows: int, samples: int) -> tuple[int, ...]:
    """Return the shape of `out` for this many rows and samples."""
    if len(plan.outputs) == 1:
        return samples, rows, *plan.outputs[0].shape
    return (samples * rows * plan.size,)


def _shown(shape: Sequence[object]) -> str:
    return f"[{', '.join(map(str, shape))}]"
