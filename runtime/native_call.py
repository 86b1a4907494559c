"""Predictions for callers in C, Rust or any language that can call a C function.

The kernels are machine code in this process. A `NativeCall` has the address of one function, and
the address of a record that describes predictions of one size. docs/runtime.md shows its use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from qbnnc.runtime.cache import Kernels
from qbnnc.runtime.jobs import Prepared
from qbnnc.runtime.kernels.records import CALL_MAGIC, Call
from qbnnc.runtime.outputs import is_complete
from qbnnc.support.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class NativeCall:
    """One C function, and its first argument for predictions of one size.

        int64_t function(const void *call, const float *x, int64_t x_elements, float *out,
                         int64_t out_elements, void *workspace, int64_t workspace_bytes,
                         uint64_t seed, uint64_t first_row);

    The addresses are valid as long as this object lives. The function returns a `Status`. It
    takes no lock, allocates nothing and calls nothing of Python. Any number of threads may call it
    at once, each with an `out` and a workspace of its own.

    Attributes:
        function: the address of the function.
        call: the address of the record.
        x_elements: float32 numbers of x, [rows, *shape] in C order.
        out_elements: float32 numbers of out, [samples, rows, *shape] of each output in turn.
        workspace_bytes: the bytes of the workspace, which begins at a multiple of 64.
    """

    function: int
    call: int
    x_elements: int
    out_elements: int
    workspace_bytes: int
    _kept: tuple[object, ...] = field(repr=False)


def native_call(kernels: Kernels, prepared: Prepared, x_elements: int) -> NativeCall:
    """Make the call of a prediction that was prepared for one thread.

    Raises InputError for a network with outputs that its program does not write whole.
    """
    (part,) = prepared.parts
    if not all(map(is_complete, prepared.plans.members)):
        raise InputError(
            "an output of this network is its input, a constant, or the same for all samples or "
            "rows, and copies of it are made in Python",
            "the network",
            "use predict_into of the session",
        )
    out_elements = prepared.outputs.elements
    record = Call(
        magic=CALL_MAGIC,
        entries=kernels.table.ctypes.data,
        opcodes=len(kernels.table),
        jobs=part.jobs.ctypes.data,
        job_count=len(part.jobs),
        x_elements=x_elements,
        out_elements=out_elements,
        workspace_bytes=part.arena_bytes,
    )
    numbers = np.array(record, np.int64)
    numbers.flags.writeable = False
    return NativeCall(
        function=kernels.predict,
        call=numbers.ctypes.data,
        x_elements=x_elements,
        out_elements=out_elements,
        workspace_bytes=part.arena_bytes,
        _kept=(numbers, prepared, kernels),
    )
