"""Rounding for one element, as docs/semantics.md, section 2, defines it.

Every step is cast: numba widens int32 + int32 to int64, and a float64 would round differently.
Comparisons are written so that NaN gives `low`.
"""

from __future__ import annotations

import numpy as np

from qbnnc.runtime.kernels.jit import kernel


@kernel
def round_into(code, low, high, zero):
    """Return Z + rint(clip(code, low, high)).

    `code`, `low` and `high` are float32 and relative to Z; `zero` is Z, int32.
    """
    code = code if code > low else low
    code = code if code < high else high
    return np.int32(np.int32(np.rint(code)) + zero)


@kernel
def bounds(low, high, zero):
    """Return (f32(low - Z), f32(high - Z), int32 Z)."""
    return np.float32(low - zero), np.float32(high - zero), np.int32(zero)
