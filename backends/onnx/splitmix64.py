"""The random numbers as functions inside the ONNX file (docs/semantics.md, section 5).

They stay functions in the file: a reader of the graph sees `derive`, `mix`, `keep` and `lanes`, and
not thirty shifts. onnxruntime inlines them when it loads the file.
"""

# onnxscript reads these functions as text and never calls them: the stubs of its operators have
# type variables that a call by another operator's result cannot solve.
# mypy: disable-error-code="type-var, arg-type, return-value"

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxscript import opset21 as op
from onnxscript import script
from onnxscript.onnx_types import INT32, UINT8, UINT16, UINT32, UINT64
from onnxscript.values import OnnxFunction, Opset

DOMAIN = "qbnnc"
DOMAIN_VERSION = 1
_QBNNC = Opset(DOMAIN, DOMAIN_VERSION)
_TO_UINT8, _TO_UINT16 = int(onnx.TensorProto.UINT8), int(onnx.TensorProto.UINT16)
_TO_UINT32, _TO_INT32 = int(onnx.TensorProto.UINT32), int(onnx.TensorProto.INT32)


def _u64(value: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.uint64))


_ONE, _SHIFT_16 = _u64(1), _u64(16)
_SHIFT_27, _SHIFT_30, _SHIFT_31 = _u64(27), _u64(30), _u64(31)
_SHIFT_32, _SHIFT_48 = _u64(32), _u64(48)
_GOLDEN = _u64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _u64(0xBF58476D1CE4E5B9), _u64(0x94D049BB133111EB)


@script(_QBNNC, default_opset=op)
def mix(z: UINT64) -> UINT64:
    """The output function of splitmix64 (Steele, Lea, Flood 2014), mod 2^64."""
    a = op.BitwiseXor(z, op.BitShift(z, op.Constant(value=_SHIFT_30), direction="RIGHT"))
    b = op.Mul(a, op.Constant(value=_FIRST))
    c = op.BitwiseXor(b, op.BitShift(b, op.Constant(value=_SHIFT_27), direction="RIGHT"))
    d = op.Mul(c, op.Constant(value=_SECOND))
    return op.BitwiseXor(d, op.BitShift(d, op.Constant(value=_SHIFT_31), direction="RIGHT"))


@script(_QBNNC, default_opset=op)
def derive(parent: UINT64, index: UINT64) -> UINT64:
    """mix(parent + GOLDEN * (index + 1)): a key from a key, or a word from a key."""
    step = op.Mul(op.Add(index, op.Constant(value=_ONE)), op.Constant(value=_GOLDEN))
    return mix(op.Add(parent, step))


@script(_QBNNC, default_opset=op)
def keep(words: UINT64, least16: UINT16, least32: UINT32, least64: UINT64) -> UINT8:
    """1 where a 16-bit lane reaches its threshold t: words [L, B, W] -> [L, B, W, 4].

    `least16` is t, `least32` t * 2^16, `least64` t * 2^48. A lane is compared as the top bits of
    the number it ends: the bits below it do not change whether it is >= t.
    """
    shifted = op.BitShift(words, op.Constant(value=_SHIFT_16), direction="LEFT")
    lane_0 = op.GreaterOrEqual(op.Cast(words, to=_TO_UINT16), least16)
    lane_1 = op.GreaterOrEqual(op.Cast(words, to=_TO_UINT32), least32)
    lane_2 = op.GreaterOrEqual(shifted, least64)
    lane_3 = op.GreaterOrEqual(words, least64)
    last = op.Constant(value_ints=[3])
    lanes = op.Concat(
        op.Unsqueeze(lane_0, last),
        op.Unsqueeze(lane_1, last),
        op.Unsqueeze(lane_2, last),
        op.Unsqueeze(lane_3, last),
        axis=3,
    )
    return op.Cast(lanes, to=_TO_UINT8)


@script(_QBNNC, default_opset=op)
def lanes(words: UINT64) -> INT32:
    """The 16-bit lanes of each word, lowest bits first: words [L, B, W] -> [L, B, W, 4]."""
    lane_0 = op.Cast(words, to=_TO_UINT16)
    second = op.BitShift(words, op.Constant(value=_SHIFT_16), direction="RIGHT")
    lane_1 = op.Cast(second, to=_TO_UINT16)
    third = op.BitShift(words, op.Constant(value=_SHIFT_32), direction="RIGHT")
    lane_2 = op.Cast(third, to=_TO_UINT16)
    fourth = op.BitShift(words, op.Constant(value=_SHIFT_48), direction="RIGHT")
    lane_3 = op.Cast(fourth, to=_TO_UINT16)
    last = op.Constant(value_ints=[3])
    every = op.Concat(
        op.Unsqueeze(lane_0, last),
        op.Unsqueeze(lane_1, last),
        op.Unsqueeze(lane_2, last),
        op.Unsqueeze(lane_3, last),
        axis=3,
    )
    return op.Cast(every, to=_TO_INT32)


def functions() -> tuple[OnnxFunction[..., Any], ...]:
    """In the order in which they call each other."""
    return mix, derive, keep, lanes
