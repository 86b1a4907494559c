"""Codes of four bits, two in a byte: the layout of ONNX's int4, the first code in the lower half.

They are stored as uint8: the int4 of ONNX has no Cast before onnxruntime 1.23.
"""

from __future__ import annotations

import numpy as np

from qbnnc.ir.types import Array


def is_packed(codes: Array) -> bool:
    """Whether all are int8 within -8..7, and an even number."""
    return codes.dtype == np.int8 and codes.size % 2 == 0 and -8 <= codes.min() <= codes.max() <= 7


def pack(codes: Array) -> Array:
    """u8 [size / 2] of int8 codes in -8..7, of any shape."""
    halves = (codes.reshape(-1, 2) & 15).astype(np.uint8)
    return halves[:, 0] | halves[:, 1] << 4


def unpack(packed: Array) -> Array:
    """The int8 codes [2 * size] of u8 bytes."""
    halves = np.stack([packed & 15, packed >> 4], axis=-1).reshape(-1)
    return ((halves ^ 8).astype(np.int8) - 8).astype(np.int8)
