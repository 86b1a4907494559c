"""All dropout masks of a member: one stream of words each, one mixing for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.layout import Layout
from qbnnc.backends.onnx.scope import Scope
from qbnnc.ir.check import random_nodes
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import KeepMask
from qbnnc.ir.rng import GOLDEN, LANES_PER_WORD, keep_threshold
from qbnnc.ir.types import Array

_ALL_LANES = 1 << 16


@dataclass(frozen=True, slots=True)
class Counters:
    """What random numbers are made of: `seed` u64 scalar, `row_numbers` u64 [B, 1]."""

    seed: onnx_ir.Value
    row_numbers: onnx_ir.Value


@dataclass(frozen=True, slots=True)
class _Stream:
    op: KeepMask
    output: Value

    @property
    def count(self) -> int:
        return prod(self.op.shape)

    @property
    def words(self) -> int:
        return -(-self.count // LANES_PER_WORD)


def write_masks(scope: Scope, counters: Counters, sample_numbers: range) -> None:
    """Every mask of the member as a value of `scope`.

    The words of all streams are concatenated to one tensor [L, B, words] (masks that the rows
    share: another, [L, 1, words]), because a few large nodes cost less than many small ones.
    """
    nodes = [node for node, _ in random_nodes(scope.graph)]
    streams = [_Stream(n.op, n.output) for n in nodes if isinstance(n.op, KeepMask)]
    for shared in (False, True):
        group = [s for s in streams if s.op.shared is shared]
        if group:
            keys = _sample_keys(scope, counters, group, sample_numbers)
            states = [_states(scope, counters, s, keys, i) for i, s in enumerate(group)]
            _slice_masks(scope, group, _keep(scope, group, states))


def counters(layout: Layout, seed: onnx_ir.Value, first: onnx_ir.Value) -> Counters:
    """The inputs `seed` and `first_row`, mod 2^64, and the number of every row."""
    writer = layout.writer
    to_u64 = int(onnx_ir.DataType.UINT64)
    zero, one = (writer.constant(np.array(n, np.int64)) for n in (0, 1))
    count = writer.op("Squeeze", layout.rows, out="random/batch")
    place = writer.op("Range", zero, count, one, out="random/place")
    row = writer.op("Add", place, first, out="random/row")
    column = writer.op("Unsqueeze", row, writer.ints(1), out="random/row_column")
    return Counters(
        writer.op("Cast", seed, out="random/seed", to=to_u64),
        writer.op("Cast", column, out="random/row_numbers", to=to_u64),
    )


def _sample_keys(
    scope: Scope, counters: Counters, group: list[_Stream], sample_numbers: range
) -> onnx_ir.Value:
    """The keys of all streams and samples: u64 [streams, L, 1, 1]."""
    writer = scope.writer
    streams = np.array([s.op.stream for s in group], np.uint64).reshape(-1, 1, 1, 1)
    samples = np.array(sample_numbers, np.uint64).reshape(1, -1, 1, 1)
    hint = f"{scope.prefix}random/stream_key"
    key = writer.call("derive", counters.seed, writer.constant(streams), out=hint)
    hint = f"{scope.prefix}random/sample_key"
    return writer.call("derive", key, writer.constant(samples), out=hint)


def _states(
    scope: Scope, counters: Counters, stream: _Stream, keys: onnx_ir.Value, index: int
) -> onnx_ir.Value:
    """sample key + GOLDEN*(row*words + w + 1), before mixing: u64 [L, B, words]."""
    writer, name = scope.writer, scope.name(stream.output)
    steps = writer.constant(GOLDEN * (np.arange(stream.words, dtype=np.uint64) + np.uint64(1)))
    key = writer.op(
        "Gather", keys, writer.constant(np.array(index, np.int64)), out=f"{name}/key", axis=0
    )
    if stream.op.shared:
        return writer.op("Add", key, steps, out=f"{name}/states")
    stride = writer.constant(np.array(int(GOLDEN) * stream.words % 2**64, np.uint64))
    start = writer.op("Mul", counters.row_numbers, stride, out=f"{name}/row_start")
    steps = writer.op("Add", start, steps, out=f"{name}/steps")
    return writer.op("Add", key, steps, out=f"{name}/states")


def _keep(scope: Scope, group: list[_Stream], states: list[onnx_ir.Value]) -> onnx_ir.Value:
    """1 for every lane that is kept: u8 [L, B, 4 * words of all streams]."""
    writer, prefix = scope.writer, scope.prefix
    every = states[0]
    if len(states) > 1:
        every = writer.op("Concat", *states, out=f"{prefix}random/states", axis=2)
    words = writer.call("mix", every, out=f"{prefix}random/words")
    least = [writer.constant(t) for t in _thresholds(group)]
    lanes = writer.call("keep", words, *least, out=f"{prefix}random/lanes")
    flat = writer.ints(0, 0, LANES_PER_WORD * sum(s.words for s in group))
    return writer.op("Reshape", lanes, flat, out=f"{prefix}random/keep")


def _thresholds(group: list[_Stream]) -> tuple[Array, Array, Array]:
    """t, t * 2^16, t * 2^48: scalars if all streams agree, otherwise [words]."""
    each = [min(keep_threshold(s.op.p), _ALL_LANES - 1) for s in group]
    t = np.array(each[0], np.uint64)
    if len(set(each)) > 1:
        t = np.repeat(np.array(each, np.uint64), [s.words for s in group])
    return t.astype(np.uint16), (t << np.uint64(16)).astype(np.uint32), t << np.uint64(48)


def _slice_masks(scope: Scope, group: list[_Stream], keep: onnx_ir.Value) -> None:
    """Each stream's lanes, without those that fill up its last word."""
    writer, start = scope.writer, 0
    for stream in group:
        name, flat = scope.name(stream.output), keep
        if len(group) > 1 or stream.count % LANES_PER_WORD:
            ends = (writer.ints(start), writer.ints(start + stream.count), writer.ints(2))
            flat = writer.op("Slice", keep, *ends, out=f"{name}/lanes")
        if keep_threshold(stream.op.p) == _ALL_LANES:  # above every lane: it keeps none
            flat = writer.op(
                "Mul", flat, writer.constant(np.array(0, np.uint8)), out=f"{name}/none"
            )
        scope.layout.merge(flat, stream.op.shape, scope.result(stream.output))
        start += LANES_PER_WORD * stream.words
