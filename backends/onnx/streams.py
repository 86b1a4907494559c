"""The words of random numbers a member needs: one stream for each node, few and large nodes.

word(w) of a sample = mix(sample key + GOLDEN*(w+1)), docs/semantics.md, section 5. Words are u64
[1, L, B or 1, words]: the leading axis is where their four lanes are laid side by side.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.interface import Inputs
from qbnnc.backends.onnx.layout import Layout
from qbnnc.backends.onnx.names import ROW_IDS
from qbnnc.backends.onnx.scope import Scope
from qbnnc.backends.onnx.splitmix64 import as_words, derive, lane, mix, words
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.check import random_nodes
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import ChoiceIndex, EpsCodes, KeepMask, NoiseCodes
from qbnnc.ir.rng import GOLDEN, LANES_PER_WORD

Drawn: TypeAlias = KeepMask | EpsCodes | NoiseCodes | ChoiceIndex

_KINDS = (KeepMask, EpsCodes, NoiseCodes, ChoiceIndex)  # the order within a group
_FEW_WORDS = 1024  # numbers of so many words are stored: 8 kB
_MANY_WORDS = 1 << 14  # of all samples: a stream that is worth nodes of its own


@dataclass(frozen=True, slots=True)
class Counters:
    """The counters of random numbers, as words: `seed` a scalar, `row_numbers` [B, 1].

    There are no row numbers where all rows share all numbers.
    """

    seed: onnx_ir.Value
    row_numbers: onnx_ir.Value | None


@dataclass(frozen=True, slots=True)
class Stream:
    """A node that draws, and its value."""

    op: Drawn
    output: Value

    @property
    def shared(self) -> bool:
        """Whether all rows see the same numbers."""
        return isinstance(self.op, EpsCodes) or self.op.shared

    @property
    def family(self) -> Hashable:
        """A key of what the same nodes may draw: all masks, or codes by the same table."""
        if isinstance(self.op, NoiseCodes):
            return NoiseCodes, self.op.thresholds, self.op.inverted
        return type(self.op)

    @property
    def count(self) -> int:
        return prod(self.op.shape)

    @property
    def words(self) -> int:
        return -(-self.count // LANES_PER_WORD)


def counters(layout: Layout, inputs: Inputs, graph: Graph) -> Counters:
    """The seed and the number of every row, mod 2^64.

    The seed passes through an Optional. OpenVINO rounds 64-bit integers, so that all samples would
    be equal; it refuses an Optional, and with it the file. An inline file has `rng_check` instead.
    """
    of_rows = any(not stream.shared for stream in _streams(graph))
    writer = layout.writer
    taken = inputs.seed
    if not writer.inline:
        held = writer.op("Optional", inputs.seed, out="random/held_seed")
        taken = writer.op("OptionalGetElement", held, out="random/taken_seed")
    number = as_words(writer, taken, "random/seed")
    return Counters(number, _row_numbers(layout, inputs.rows) if of_rows else None)


def write_check(writer: Writer, counters: Counters, out: onnx_ir.Value) -> None:
    """The four lanes of mix(seed + GOLDEN), lowest bits first: i32 [4], each below 2^16.

    They tell whether an engine computes with all 64 bits. mix(seed + GOLDEN) is the first number
    of a plain splitmix64 generator, so that published test vectors hold.
    """
    word = derive(writer, counters.seed, np.zeros(1, np.uint64), "random/check")
    lanes = [lane(writer, word, number, "random/check/lane") for number in range(LANES_PER_WORD)]
    writer.op("Concat", *lanes, out=out, axis=0)


def _row_numbers(layout: Layout, rows: onnx_ir.Value) -> onnx_ir.Value:
    writer = layout.writer
    if rows.name == ROW_IDS:
        return as_words(writer, _id_column(layout, rows), "random/row_numbers")
    if isinstance(layout.rows, int):
        place = writer.constant(np.arange(layout.rows, dtype=np.int64))
    else:
        zero, one = (writer.constant(np.array(n, np.int64)) for n in (0, 1))
        count = writer.op("Squeeze", layout.rows, out="random/batch")
        place = writer.op("Range", zero, count, one, out="random/place")
    row = writer.op("Add", place, rows, out="random/row")
    column = writer.op("Unsqueeze", row, writer.ints(1), out="random/row_column")
    return as_words(writer, column, "random/row_numbers")


def _id_column(layout: Layout, ids: onnx_ir.Value) -> onnx_ir.Value:
    """The ids as [B, 1]; an Unsqueeze alone would let a single id pass for those of all rows.

    The shape is no Concat: onnxruntime would put -1 for it, and check nothing.
    """
    writer = layout.writer
    count = writer.ints(layout.rows) if isinstance(layout.rows, int) else layout.rows
    each = writer.op("Reshape", ids, count, out="random/row")
    return writer.op("Unsqueeze", each, writer.ints(1), out="random/row_column")


def _streams(graph: Graph) -> list[Stream]:
    nodes = [(node.op, node.output) for node, _ in random_nodes(graph)]
    return [Stream(op, v) for op, v in nodes if isinstance(op, _KINDS)]


def groups(graph: Graph, samples: int) -> list[list[Stream]]:
    """The streams that are drawn together, because a few large nodes cost less than many small.

    The first group holds all that rows have of their own, the second what they share. In each come
    masks, then noise, then indices; a family is together. Streams of many words that rows share are
    drawn alone.
    """
    streams = _streams(graph)
    of_rows = [s for s in streams if not s.shared]
    few = [s for s in streams if s.shared and s.words * samples < _MANY_WORDS]
    many = [[s] for s in streams if s.shared and s.words * samples >= _MANY_WORDS]
    return [*(_by_families(group) for group in (of_rows, few) if group), *many]


def _by_families(streams: list[Stream]) -> list[Stream]:
    places: dict[Hashable, int] = {}
    for stream in streams:
        places.setdefault(stream.family, len(places))
    return sorted(streams, key=lambda s: (_KINDS.index(type(s.op)), places[s.family]))


def sample_keys(
    scope: Scope, counters: Counters, streams: list[Stream], sample_numbers: range
) -> dict[Stream, onnx_ir.Value]:
    """The key of each stream for all samples: u64 [1, L, 1, 1]."""
    writer, name = scope.writer, f"{scope.prefix}random"
    numbers = np.array([s.op.stream for s in streams], np.uint64)
    samples = np.array(sample_numbers, np.uint64).reshape(1, -1, 1, 1)
    key = derive(writer, counters.seed, numbers.reshape(1, 1, 1, -1), f"{name}/stream_key")
    keys = derive(writer, key, samples, f"{name}/sample_key")
    if len(streams) == 1:
        return {streams[0]: keys}
    names = [f"{scope.name(stream.output)}/key" for stream in streams]
    parts = writer.split(keys, names, axis=3)
    return dict(zip(streams, parts, strict=True))


def write_words(
    scope: Scope, counters: Counters, group: list[Stream], keys: dict[Stream, onnx_ir.Value]
) -> onnx_ir.Value:
    """The words of a group, one stream after the other: u64 [1, L, B or 1, words]."""
    writer, name = scope.writer, f"{scope.prefix}random"
    leading = (1, scope.layout.samples, 1) if writer.inline else ()
    key = _for_words(writer, group, [keys[s] for s in group], f"{name}/keys", leading)
    steps = _steps(writer, group, name)
    if not group[0].shared:
        assert counters.row_numbers is not None
        start = writer.op(
            "Mul", counters.row_numbers, _strides(writer, group, name), out=f"{name}/row_start"
        )
        steps = writer.op("Add", start, steps, out=f"{name}/steps")
    return mix(writer, writer.op("Add", key, steps, out=f"{name}/states"), f"{name}/words")


def _strides(writer: Writer, group: list[Stream], name: str) -> onnx_ir.Value:
    """GOLDEN*words of each word's stream: what lies between two rows, a scalar or u64 [words]."""
    counts = [s.words for s in group]
    strides = [np.array(int(GOLDEN) * count % 2**64, np.uint64) for count in counts]
    if len(set(counts)) == 1:
        return words(writer, strides[0])
    if writer.inline or sum(counts) <= _FEW_WORDS:
        return words(writer, np.repeat(np.array(strides), counts))
    return _for_words(writer, group, [words(writer, s) for s in strides], f"{name}/strides")


def _for_words(
    writer: Writer,
    group: list[Stream],
    each: list[onnx_ir.Value],
    name: str,
    leading: tuple[int, ...] = (),
) -> onnx_ir.Value:
    """A number of each stream, or several [.., 1], for each of its words: [.., words].

    One stream keeps its number, which broadcasts. The `leading` axes are for compilers that expand
    to a whole shape alone.
    """
    if len(group) == 1:
        return each[0]
    repeated = [
        writer.op("Expand", value, writer.ints(*leading, stream.words), out=f"{name}/each")
        for value, stream in zip(each, group, strict=True)
    ]
    return writer.op("Concat", *repeated, out=name, axis=-1)


def _steps(writer: Writer, group: list[Stream], name: str) -> onnx_ir.Value:
    """GOLDEN*(w + 1) for each word w of each stream, u64 [words].

    Many are computed, which onnxruntime does once, when it loads the file.
    """
    if writer.inline or sum(s.words for s in group) <= _FEW_WORDS:
        numbers = np.concatenate([np.arange(1, s.words + 1, dtype=np.uint64) for s in group])
        return words(writer, GOLDEN * numbers)
    one = writer.constant(np.array(1, np.int64))
    ends = [writer.constant(np.array(s.words + 1, np.int64)) for s in group]
    ranges = [writer.op("Range", one, end, one, out=f"{name}/numbers") for end in ends]
    every = ranges[0]
    if len(ranges) > 1:
        every = writer.op("Concat", *ranges, out=f"{name}/all_numbers", axis=0)
    unsigned = as_words(writer, every, f"{name}/unsigned")
    golden = words(writer, np.array(int(GOLDEN), np.uint64))
    return writer.op("Mul", unsigned, golden, out=f"{name}/word_steps")


def interleaved(
    scope: Scope, planes: onnx_ir.Value, shape: tuple[int, ...], name: str
) -> onnx_ir.Value:
    """[4, L, B, words] as [L, B, words, 4], in another `shape`.

    Two to five times faster than a Concat on the last axis, which copies element by element.
    """
    lanes = scope.writer.op("Transpose", planes, out=f"{name}/lanes", perm=(1, 2, 3, 0))
    return scope.writer.op("Reshape", lanes, scope.writer.ints(*shape), out=name)


def write_each(scope: Scope, group: list[Stream], lanes: onnx_ir.Value) -> None:
    """Write each stream's part of [L*B, 4 * words], without what fills up its last word."""
    start = 0
    for stream in group:
        shape, out = stream.op.shape, scope.result(stream.output)
        if len(group) == 1 and stream.count % LANES_PER_WORD == 0:
            scope.layout.merge(lanes, shape, out)
        elif len(shape) == 1:
            _slice(scope.writer, lanes, start, stream.count, out)
        else:
            own = _slice(scope.writer, lanes, start, stream.count, f"{out.name}/lanes")
            scope.layout.merge(own, shape, out)
        start += LANES_PER_WORD * stream.words


def _slice(
    writer: Writer, lanes: onnx_ir.Value, start: int, count: int, out: onnx_ir.Value | str
) -> onnx_ir.Value:
    """`count` lanes of each row."""
    ends = (writer.ints(start), writer.ints(start + count), writer.ints(1))
    return writer.op("Slice", lanes, *ends, out=out)
