"""The function for callers without Python: one prediction, by the addresses of its arrays.

    int64_t predict(const void *call, const float *x, int64_t x_elements, float *out,
                    int64_t out_elements, void *workspace, int64_t workspace_bytes,
                    uint64_t seed, uint64_t first_row);

docs/runtime.md describes the arguments. The result is a `records.Status`.
"""

from __future__ import annotations

from numba import types

from qbnnc.runtime.kernels.addressing import numbers
from qbnnc.runtime.kernels.checks import checked, overlaps
from qbnnc.runtime.kernels.interpreter import run
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.records import CALL, CALL_MAGIC, Status

ARGUMENTS = 9
SIGNATURE = types.int64(*[types.int64] * ARGUMENTS)

_DONE, _BAD_CALL, _BAD_POINTER = int(Status.DONE), int(Status.BAD_CALL), int(Status.BAD_POINTER)
_WRONG_SIZE, _OVERLAP = int(Status.WRONG_SIZE), int(Status.OVERLAP)
_SMALL_WORKSPACE = int(Status.SMALL_WORKSPACE)


@kernel
def refused(call, x, x_size, out, out_size, workspace, workspace_bytes):
    """Return the Status of the arguments, without reading the arrays."""
    if x == 0 or out == 0 or workspace == 0 or x % 4 or out % 4 or workspace % 64:
        return _BAD_POINTER
    if x_size != call[CALL.x_elements] or out_size != call[CALL.out_elements]:
        return _WRONG_SIZE
    if workspace_bytes < call[CALL.workspace_bytes]:
        return _SMALL_WORKSPACE
    used = call[CALL.workspace_bytes]
    if overlaps(x, 4 * x_size, workspace, used) or overlaps(out, 4 * out_size, workspace, used):
        return _OVERLAP
    return _DONE


def predict(call_at, x, x_elements, out, out_elements, workspace, workspace_bytes, seed, first_row):
    """Check all arguments and predict; `qbnnc.runtime.compilation` compiles this function."""
    if call_at == 0 or call_at % 8:
        return _BAD_CALL
    call = numbers(call_at)
    if call[CALL.magic] != CALL_MAGIC:
        return _BAD_CALL
    status = refused(call, x, x_elements, out, out_elements, workspace, workspace_bytes)
    if status == _DONE:
        status = checked(x, x_elements, out, out_elements)
    if status == _DONE:
        run(
            call[CALL.entries], call[CALL.jobs], call[CALL.job_count], seed, first_row, x,
            x_elements, workspace, call[CALL.workspace_bytes], out, out_elements,
        )  # fmt: skip
    return status
