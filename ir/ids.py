"""Ids of tokens and categories: which numbers of the input they are, and their vocabularies.

The input is f32 whatever it holds. Numbers of it are ids if embeddings read them, moved or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.inputs import input_values, inputs_of
from qbnnc.ir.ops.embedding import Embedding, EmbeddingCodes
from qbnnc.ir.ops.part import Part
from qbnnc.ir.ops.shape import Move, Rearrangement, Reshape
from qbnnc.support import limits
from qbnnc.support.errors import CompileError, InputError
from qbnnc.support.several_inputs import (
    Arrays,
    Entries,
    as_packed_batch,
    as_packed_rows,
    unpacked,
)

Index = NDArray[np.int64]


def is_embedding(op: object) -> bool:
    """Whether an op reads ids."""
    return isinstance(op, Embedding | EmbeddingCodes)


def raw_values(graph: Graph) -> frozenset[Value]:
    """The input and what only moves make of it."""
    return frozenset({graph.input, *(node.output for node in _moves(graph))})


def id_places(graph: Graph) -> dict[Value, Index]:
    """For each value that embeddings read, the element of the input that each element is.

    The arrays have the shapes of the values. -1 is a new zero, which is id 0. Of the values between
    no array is kept, so that many moves of a large input take no more memory than one.
    """
    kept = {node.inputs[0] for node in graph.nodes if is_embedding(node.op)}
    if not kept:
        return {}
    entry, moves = graph.input, _moves(graph)
    last = {node.inputs[0]: node for node in moves}
    found = {entry: np.arange(entry.type.size, dtype=np.int64).reshape(entry.type.shape)}
    for node in moves:
        value = node.inputs[0]
        if node.output in last or node.output in kept:
            found[node.output] = _moved(node, found[value])
        if last[value] is node and value not in kept:
            del found[value]
    return {value: places for value, places in found.items() if value in kept}


def _moves(graph: Graph) -> list[Node]:
    """The nodes that move numbers of the input, and nothing that is made of them."""
    raw, moves = {graph.input}, list[Node]()
    for node in graph.nodes:
        moving = isinstance(node.op, Part | Reshape | Move) and node.output.type.quant is None
        if moving and node.inputs[0] in raw:
            raw.add(node.output)
            moves.append(node)
    return moves


def _moved(node: Node, source: Index) -> Index:
    """What a node makes of the places of its input."""
    match node.op:
        case Part(start, shape):
            return source[start : start + node.output.type.size].reshape(shape)
        case Reshape(shape):
            return source.reshape(shape)
        case Move() as op:
            places = op.source_of(source.shape)
            taken = source.reshape(-1)[np.maximum(places, 0)]
            return np.where(places < 0, -1, taken)
    raise TypeError(f"{node.op.name} moves nothing")


def id_values(graph: Graph) -> frozenset[Value]:
    """The values that hold ids: what embeddings read, and what these are moved from."""
    found = {node.inputs[0] for node in graph.nodes if is_embedding(node.op)}
    for node in reversed(graph.nodes):
        if node.output in found and isinstance(node.op, Rearrangement):
            found.add(node.inputs[0])
    return frozenset(found)


def vocabularies(graph: Graph) -> NDArray[np.int64] | None:
    """For each number of a row the least vocabulary that embeddings read it by: i64 [*shape].

    It is 0 for numbers that are no ids. None if nothing reads ids.
    """
    readers = [node for node in graph.nodes if is_embedding(node.op)]
    if not readers:
        return None
    raw, none = id_places(graph), np.iinfo(np.int64).max
    least = np.full(graph.input.type.size, none)
    for node in readers:
        source = raw[node.inputs[0]].reshape(-1)
        np.minimum.at(least, source[source >= 0], node.inputs[1].type.shape[0])
    return np.where(least == none, 0, least).reshape(graph.input.type.shape)


def holds_only_ids(graph: Graph, entry: Value | None = None) -> bool:
    """Whether embeddings alone read an input, moved or not, and it is no output.

    `entry` is one of several inputs; None is the graph's input.
    """
    ids, readers = id_values(graph), graph.consumers()
    waiting = [graph.input if entry is None else entry]
    for value in waiting:
        if value not in ids or value in graph.outputs:
            return False
        moved = [n for n in readers.get(value, ()) if not is_embedding(n.op)]
        waiting.extend(node.output for node in moved)
    return True


def ids_within(graph: Graph, ids: Value) -> tuple[Value, Index]:
    """The input that ids are taken from, and the element of it that each is; -1 is a new zero."""
    source, entries = id_places(graph)[ids], inputs_of(graph)
    taken = source[source >= 0]
    first = int(taken.min()) if taken.size else 0
    place = next(i for i, entry in enumerate(entries) if entry.start <= first < entry.stop)
    return input_values(graph)[place], np.where(source < 0, -1, source - entries[place].start)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows that a network takes: their shape, and the vocabularies of their ids.

    `entries` are the inputs by name, which stand one after another in a row.
    """

    shape: tuple[int, ...]
    ids: NDArray[np.int64] | None
    entries: Entries

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(entry.name for entry in self.entries)

    @staticmethod
    def taken_by(graph: Graph) -> Rows:
        """The rows of a graph's input."""
        return Rows(graph.input.type.shape, vocabularies(graph), inputs_of(graph))

    def read(self, x: Arrays, name: str = "the input") -> NDArray[np.float32]:
        """x, or the tuple or dict of several inputs, as `as_rows` gives it."""
        return as_packed_rows(x, self.entries, name)

    def of(self, x: Arrays, name: str = "the input") -> NDArray[np.float32]:
        """x as `as_batch` gives it; InputError for what is no id too."""
        batch = as_packed_batch(x, self.entries, name)
        self.check(batch, name)
        return batch

    def check(self, batch: NDArray[np.float32], name: str = "the input") -> None:
        """InputError for what is no id, which names one of several inputs."""
        if self.ids is None or len(self.entries) == 1:
            check_ids(batch, self.ids, name)
            return
        for entry in self.entries:
            known = self.ids[entry.start : entry.stop].reshape(entry.shape)
            check_ids(entry.of(batch), known, f"{name} {entry.name!r}")

    def example(self, x: Arrays, batch: NDArray[np.float32]) -> Arrays:
        """x as a module of several inputs takes it: as it is given, or the batch by names."""
        if len(self.entries) == 1 or not isinstance(x, np.ndarray):
            return x if isinstance(x, Mapping | tuple | list) else batch
        parts = unpacked(batch, self.entries)
        if self.ids is None:
            return parts
        whole = {e.name for e in self.entries if (self.ids[e.start : e.stop] > 0).all()}
        return {n: p.astype(np.int64) if n in whole else p for n, p in parts.items()}

    def drawn(self, count: int) -> NDArray[np.float32]:
        """Noise [count, *shape], with ids that are all as likely; the same each time."""
        rng = np.random.default_rng(0)
        numbers = rng.standard_normal((count, *self.shape)).astype(np.float32)
        if self.ids is None:
            return numbers
        ids = rng.integers(0, np.maximum(self.ids, 1), numbers.shape)
        return np.where(self.ids > 0, ids.astype(np.float32), numbers)


def check_ids(
    batch: NDArray[np.float32],
    known: NDArray[np.int64] | None,
    name: str = "the input",
    first_row: int = 0,
) -> None:
    """InputError unless all ids of a batch [B, *shape] are whole and in their vocabularies.

    `known` is what `vocabularies` gives; None checks nothing. Rows count from `first_row` on.
    """
    if known is None or not (bad := _no_ids(batch, known)).any():
        return
    row, *place = (int(i) for i in np.argwhere(bad)[0])
    value, most = batch[(row, *place)], int(known[tuple(place)]) - 1
    where = f", position {', '.join(map(str, place))}" if prod(known.shape) > 1 else ""
    what = f"the id {value:.9g}" if value == np.floor(value) else f"{value:.9g}, which is no id,"
    raise InputError(
        f"{what} is in row {first_row + row}{where}, and the ids there are 0 to {most}",
        place=name,
        remedy="number the tokens as in training, and give unknown ones an id of their own",
    )


def rows_of_ids(batch: NDArray[np.float32], known: NDArray[np.int64] | None) -> int:
    """The number of rows before the first one that `check_ids` refuses."""
    if known is None:
        return len(batch)
    bad = _no_ids(batch, known).reshape(len(batch), -1).any(axis=1)
    return int(bad.argmax()) if bad.any() else len(batch)


def _no_ids(batch: NDArray[np.float32], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which numbers of a batch should be ids, and are none of their vocabulary."""
    ids: NDArray[np.bool_] = (batch >= 0) & (batch < known) & (batch == np.floor(batch))
    return ~ids & (known > 0)


def vocabulary_text(known: NDArray[np.int64]) -> str:
    """Vocabularies as text, in row-major order: "1000x12,7" is 1000 twelve times, then 7."""
    flat = known.reshape(-1)
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    counts = np.diff(starts, append=len(flat))
    runs = zip(flat[starts].tolist(), counts.tolist(), strict=True)
    return ",".join(f"{number}x{count}" if count > 1 else f"{number}" for number, count in runs)


def vocabularies_from(text: str, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The inverse of `vocabulary_text`; ValueError for a text that no such array has."""
    numbers, counts = list[int](), list[int]()
    for run in text.split(","):
        number, _, count = run.partition("x")
        numbers.append(int(number))
        counts.append(int(count or 1))
    for each in numbers:
        limits.VOCABULARY.check(max(each, 1))
    if min(counts) < 1 or min(numbers) < 0 or sum(counts) != prod(shape):
        whole = limits.shown(sum(counts))
        raise ValueError(f"vocabularies of {whole} numbers for rows of {list(shape)}")
    return np.repeat(np.array(numbers, np.int64), counts).reshape(shape)


def check_readers(graph: Graph) -> None:
    """CompileError, at the node, unless every embedding reads ids and a table that is constant."""
    raw = None
    for node in graph.nodes:
        if not is_embedding(node.op):
            continue
        raw = raw_values(graph) if raw is None else raw
        if node.inputs[0] not in raw:
            raise CompileError("reads ids that are computed, not those of the input", node.loc)
        if node.inputs[1] not in graph.constants:
            raise CompileError("reads a table that is not constant", node.loc)
