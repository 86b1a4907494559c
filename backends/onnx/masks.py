"""Dropout masks from words."""

from __future__ import annotations

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.splitmix64 import lane, shifted
from qbnnc.backends.onnx.streams import Stream, interleaved, write_each
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.ops import KeepMask
from qbnnc.ir.rng import LANES_PER_WORD

_TO_UINT8, _TO_UINT16 = int(onnx_ir.DataType.UINT8), int(onnx_ir.DataType.UINT16)
_TO_UINT32 = int(onnx_ir.DataType.UINT32)
_ALL_LANES = 1 << 16


def write_masks(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> None:
    """Write every mask of a group as a value of `scope`; `words` u64 [1, L, B, words of it]."""
    reached = _reached(scope, group, words)
    write_each(scope, group, _kept(scope, group, reached))


def _kept(scope: Scope, group: list[Stream], reached: onnx_ir.Value) -> onnx_ir.Value:
    """The lanes that are kept, of those that reach their threshold, 1 or 0.

    An inverted mask keeps the others: 255 * reached + 1 in wrapping uint8. A threshold that is
    above every lane counts as reached by none.
    """
    writer, name = scope.writer, f"{scope.prefix}random/keep"
    factors = [255 if _mask(s).inverted else 1 for s in group]
    factors = [0 if _threshold(s) == _ALL_LANES else f for s, f in zip(group, factors, strict=True)]
    offsets = [int(_mask(s).inverted) for s in group]
    made = reached
    if set(factors) != {1}:
        made = writer.op("Mul", made, _of_lanes(writer, group, factors), out=f"{name}/scaled")
    if any(offsets):
        made = writer.op("Add", made, _of_lanes(writer, group, offsets), out=name)
    return made


def _of_lanes(writer: Writer, group: list[Stream], numbers: list[int]) -> onnx_ir.Value:
    """A number of each stream for each of its lanes, u8."""
    lanes = [LANES_PER_WORD * s.words for s in group]
    return writer.constant(np.repeat(np.array(numbers, np.uint8), lanes))


def _reached(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> onnx_ir.Value:
    """1 for every lane that reaches its threshold t: u8 [L*B, 4 * words of all streams]."""
    writer, name = scope.writer, f"{scope.prefix}random"
    lanes = _plain_flags(scope, group, words) if writer.inline else _flags(scope, group, words)
    flags = writer.op("Concat", *lanes, out=f"{name}/flags", axis=0)
    planes = writer.op("Cast", flags, out=f"{name}/planes", to=_TO_UINT8)
    count = LANES_PER_WORD * sum(s.words for s in group)
    return interleaved(scope, planes, (-1, count), f"{name}/reached")


def _flags(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> list[onnx_ir.Value]:
    """Whether lanes reach their thresholds t, lane by lane.

    The first and third lanes are the low halves of 32 bits. The others are compared as the upper
    half, with t * 2^16: the bits below do not change whether a lane is >= t.
    """
    writer, name, least = scope.writer, f"{scope.prefix}random", _thresholds(group)
    whole = writer.constant(least.astype(np.uint16))
    upper = writer.constant(least.astype(np.uint32) << np.uint32(16))
    lanes = []
    for half in (words, shifted(writer, words, 32, f"{name}/high")):
        pair = writer.op("Cast", half, out=f"{name}/pair", to=_TO_UINT32)
        low = writer.op("Cast", pair, out=f"{name}/low", to=_TO_UINT16)
        lanes.append(writer.op("GreaterOrEqual", low, whole, out=f"{name}/low_lane"))
        lanes.append(writer.op("GreaterOrEqual", pair, upper, out=f"{name}/high_lane"))
    return lanes


def _plain_flags(scope: Scope, group: list[Stream], words: onnx_ir.Value) -> list[onnx_ir.Value]:
    """`_flags` of an inline file, whose words are i64."""
    writer, name = scope.writer, f"{scope.prefix}random"
    least = writer.constant(_thresholds(group).astype(np.int32))
    lanes = [lane(writer, words, number, f"{name}/lane") for number in range(LANES_PER_WORD)]
    return [writer.op("GreaterOrEqual", each, least, out=f"{name}/reaches") for each in lanes]


def _thresholds(group: list[Stream]) -> NDArray[np.uint64]:
    """t: a scalar if all streams agree, otherwise [words]."""
    each = [min(_threshold(s), _ALL_LANES - 1) for s in group]
    if len(set(each)) == 1:
        return np.array(each[0], np.uint64)
    return np.repeat(np.array(each, np.uint64), [s.words for s in group])


def _threshold(stream: Stream) -> int:
    return _mask(stream).threshold


def _mask(stream: Stream) -> KeepMask:
    assert isinstance(stream.op, KeepMask)
    return stream.op
