"""The words of random numbers a member needs: one stream for each node, few and large nodes.

word(w) of a sample = mix(sample key + GOLDEN*(w+1)), docs/semantics.md, section 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from qbnnc.backends.onnx.layout import Layout
from qbnnc.backends.onnx.scope import Scope
from qbnnc.ir.check import random_nodes
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import EpsCodes, KeepMask
from qbnnc.ir.rng import GOLDEN, LANES_PER_WORD

_TO_UINT64 = int(onnx_ir.DataType.UINT64)
_FEW_WORDS = 64
_MOST_WORDS = 1 << 18  # drawn at once for all samples: 2 MiB; more only costs memory


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of random numbers: `seed` u64 scalar, `row_numbers` u64 [B, 1].

    There are no row numbers where all rows share all numbers.
    """

    seed: onnx_ir.Value
    row_numbers: onnx_ir.Value | None


@dataclass(frozen=True, slots=True)
class Stream:
    """A node that draws, and its value."""

    op: KeepMask | EpsCodes
    output: Value

    @property
    def shared(self) -> bool:
        """Whether all rows see the same numbers."""
        return isinstance(self.op, EpsCodes) or self.op.shared

    @property
    def count(self) -> int:
        return prod(self.op.shape)

    @property
    def words(self) -> int:
        return -(-self.count // LANES_PER_WORD)


def counters(layout: Layout, seed: onnx_ir.Value, first: onnx_ir.Value, graph: Graph) -> Counters:
    """The inputs `seed` and `first_row`, mod 2^64, and the number of every row."""
    of_rows = any(not stream.shared for stream in _streams(graph))
    unsigned = layout.writer.op("Cast", seed, out="random/seed", to=_TO_UINT64)
    return Counters(unsigned, _row_numbers(layout, first) if of_rows else None)


def _row_numbers(layout: Layout, first: onnx_ir.Value) -> onnx_ir.Value:
    writer = layout.writer
    zero, one = (writer.constant(np.array(n, np.int64)) for n in (0, 1))
    count = writer.op("Squeeze", layout.rows, out="random/batch")
    place = writer.op("Range", zero, count, one, out="random/place")
    row = writer.op("Add", place, first, out="random/row")
    column = writer.op("Unsqueeze", row, writer.ints(1), out="random/row_column")
    return writer.op("Cast", column, out="random/row_numbers", to=_TO_UINT64)


def _streams(graph: Graph) -> list[Stream]:
    nodes = [(node.op, node.output) for node, _ in random_nodes(graph)]
    return [Stream(op, v) for op, v in nodes if isinstance(op, KeepMask | EpsCodes)]


def groups(graph: Graph, samples: int) -> list[list[Stream]]:
    """The streams that are drawn together, because a few large nodes cost less than many small.

    The first group holds all masks that rows have of their own. Then come streams that the rows
    share, masks before noise, in groups of bounded size.
    """
    streams = _streams(graph)
    of_rows = [s for s in streams if not s.shared]
    made, room = [of_rows] if of_rows else [], 0
    for stream in sorted(
        (s for s in streams if s.shared), key=lambda s: isinstance(s.op, EpsCodes)
    ):
        if stream.words * samples > room:
            made.append([])
            room = _MOST_WORDS
        made[-1].append(stream)
        room -= stream.words * samples
    return made


def write_words(
    scope: Scope, counters: Counters, group: list[Stream], sample_numbers: range
) -> onnx_ir.Value:
    """The words of a group, one stream after the other: u64 [L, B or 1, words]."""
    writer, prefix = scope.writer, scope.prefix
    keys = _sample_keys(scope, counters, group, sample_numbers)
    states = [_states(scope, counters, s, keys, i) for i, s in enumerate(group)]
    every = states[0]
    if len(states) > 1:
        every = writer.op("Concat", *states, out=f"{prefix}random/states", axis=2)
    return writer.call("mix", every, out=f"{prefix}random/words")


def lanes_of_each(
    scope: Scope, group: list[Stream], lanes: onnx_ir.Value
) -> Iterator[tuple[Stream, onnx_ir.Value]]:
    """Each stream's part of [L, B, 4 * words], without the lanes that fill up its last word."""
    writer, start = scope.writer, 0
    for stream in group:
        name, own = scope.name(stream.output), lanes
        if len(group) > 1 or stream.count % LANES_PER_WORD:
            ends = (writer.ints(start), writer.ints(start + stream.count), writer.ints(2))
            own = writer.op("Slice", lanes, *ends, out=f"{name}/lanes")
        yield stream, own
        start += LANES_PER_WORD * stream.words


def _sample_keys(
    scope: Scope, counters: Counters, group: list[Stream], sample_numbers: range
) -> onnx_ir.Value:
    """The keys of all streams and samples: u64 [streams, L, 1, 1]."""
    writer = scope.writer
    streams = np.array([s.op.stream for s in group], np.uint64).reshape(-1, 1, 1, 1)
    samples = np.array(sample_numbers, np.uint64).reshape(1, -1, 1, 1)
    hint = f"{scope.prefix}random/stream_key"
    key = writer.call("derive", counters.seed, writer.constant(streams), out=hint)
    hint = f"{scope.prefix}random/sample_key"
    return writer.call("derive", key, writer.constant(samples), out=hint)


def _steps(scope: Scope, stream: Stream) -> onnx_ir.Value:
    """GOLDEN*(w + 1) for each word w, u64 [words].

    Many words are computed, which onnxruntime does once, when it loads the file.
    """
    writer, name = scope.writer, scope.name(stream.output)
    if stream.words <= _FEW_WORDS:
        words: NDArray[np.uint64] = np.arange(1, stream.words + 1, dtype=np.uint64)
        return writer.constant(GOLDEN * words)
    ends = (writer.constant(np.array(n, np.int64)) for n in (1, stream.words + 1, 1))
    numbers = writer.op("Range", *ends, out=f"{name}/numbers")
    unsigned = writer.op("Cast", numbers, out=f"{name}/unsigned", to=_TO_UINT64)
    golden = writer.constant(np.array(int(GOLDEN), np.uint64))
    return writer.op("Mul", unsigned, golden, out=f"{name}/word_steps")


def _states(
    scope: Scope, counters: Counters, stream: Stream, keys: onnx_ir.Value, index: int
) -> onnx_ir.Value:
    """sample key + GOLDEN*(row*words + w + 1), before mixing: u64 [L, B, words]."""
    writer, name = scope.writer, scope.name(stream.output)
    steps = _steps(scope, stream)
    key = writer.op(
        "Gather", keys, writer.constant(np.array(index, np.int64)), out=f"{name}/key", axis=0
    )
    if stream.shared or counters.row_numbers is None:
        return writer.op("Add", key, steps, out=f"{name}/states")
    stride = writer.constant(np.array(int(GOLDEN) * stream.words % 2**64, np.uint64))
    start = writer.op("Mul", counters.row_numbers, stride, out=f"{name}/row_start")
    steps = writer.op("Add", start, steps, out=f"{name}/steps")
    return writer.op("Add", key, steps, out=f"{name}/states")
