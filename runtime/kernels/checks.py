"""Checks of the arrays that a caller gives, before anything is written."""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.kernels.addressing import reals
from qbnnc.runtime.kernels.jit import kernel
from qbnnc.runtime.kernels.records import Status

_DONE, _OVERLAP, _NAN = int(Status.DONE), int(Status.OVERLAP), int(Status.NAN)


@kernel
def overlaps(a, a_bytes, b, b_bytes):
    """Tell whether two ranges of addresses share a byte."""
    return a_bytes > 0 and b_bytes > 0 and a < b + b_bytes and b < a + a_bytes


@kernel
def checked(x_at, x_size, out_at, out_size):
    """Return the Status of x and out, which are float32 arrays."""
    if overlaps(x_at, 4 * x_size, out_at, 4 * out_size):
        return _OVERLAP
    x, count = reals(x_at), np.uint32(0)
    for i in range(x_size):
        count |= np.uint32(x[i] != x[i])
    return _NAN if count else _DONE
