"""Dropout masks from words."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.streams import Stream, lanes_of_each
from qbnnc.ir.ops import KeepMask
from qbnnc.ir.rng import LANES_PER_WORD
from qbnnc.ir.types import Array

_ALL_LANES = 1 << 16


def write_masks(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> None:
    """Write every mask of a group as a value of `scope`; `words` u64 [L, B, words of the group]."""
    writer = scope.writer
    keep = _keep(scope, group, words)
    for stream, flat in lanes_of_each(scope, group, keep):
        if _threshold(stream) == _ALL_LANES:  # above every lane: it keeps none
            nothing = writer.constant(np.array(0, np.uint8))
            flat = writer.op("Mul", flat, nothing, out=f"{scope.name(stream.output)}/none")
        if _mask(stream).inverted:
            one = writer.constant(np.array(1, np.uint8))
            flat = writer.op("BitwiseXor", flat, one, out=f"{scope.name(stream.output)}/low")
        scope.layout.merge(flat, stream.op.shape, scope.result(stream.output))


def _keep(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> onnx_ir.Value:
    """1 for every lane that reaches its threshold: u8 [L, B, 4 * words of all streams]."""
    writer, prefix = scope.writer, scope.prefix
    least = [writer.constant(t) for t in _thresholds(group)]
    lanes = writer.call("keep", words, *least, out=f"{prefix}random/lanes")
    flat = writer.ints(0, 0, LANES_PER_WORD * sum(s.words for s in group))
    return writer.op("Reshape", lanes, flat, out=f"{prefix}random/keep")


def _thresholds(group: list[Stream]) -> tuple[Array, Array, Array]:
    """t, t * 2^16, t * 2^48: scalars if all streams agree, otherwise [words]."""
    each = [min(_threshold(s), _ALL_LANES - 1) for s in group]
    t = np.array(each[0], np.uint64)
    if len(set(each)) > 1:
        t = np.repeat(np.array(each, np.uint64), [s.words for s in group])
    return t.astype(np.uint16), (t << np.uint64(16)).astype(np.uint32), t << np.uint64(48)


def _threshold(stream: Stream) -> int:
    return _mask(stream).threshold


def _mask(stream: Stream) -> KeepMask:
    assert isinstance(stream.op, KeepMask)
    return stream.op
