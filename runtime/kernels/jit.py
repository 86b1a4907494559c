"""The decorators of kernels: functions that only other kernels call, or C (`for_c`)."""

from __future__ import annotations

from typing import Any, TypeAlias

from numba import njit

# Without the entry points for Python and C, a kernel takes half the time to compile. numpy's error
# model: x / 0 is IEEE's, not an exception; with one, no loop that divides becomes vector code.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "error_model": "numpy",
}

kernel = njit(**_OPTIONS)
for_c = njit(**_OPTIONS | {"no_cfunc_wrapper": False})
inlined = njit(inline="always", **_OPTIONS)

Kernel: TypeAlias = Any  # numba's function of (row, context, memory): see `entries`
