"""Ids of tokens and categories: which numbers of the input they are, and their vocabularies.

The input is f32 whatever it holds. Numbers of it are ids if embeddings read them, moved or not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.inputs import input_values, inputs_of
from qbnnc.ir.ops.embedding import Embedding, EmbeddingCodes
from qbnnc.ir.ops.part import Part
from qbnnc.ir.ops.shape import Move, Rearrangement, Reshape
from qbnnc.support.errors import CompileError
from qbnnc.support.id_rows import Rows

Index = NDArray[np.int64]


def is_embedding(op: object) -> bool:
    """Whether an op reads ids."""
    return isinstance(op, Embedding | EmbeddingCodes)


def raw_values(graph: Graph) -> dict[Value, Index]:
    """The input and what only moves make of it; the element of the input that each element is.

    The arrays have the shapes of the values. -1 is a new zero, which is id 0.
    """
    entry = graph.input
    found = {entry: np.arange(entry.type.size, dtype=np.int64).reshape(entry.type.shape)}
    for node in graph.nodes:
        source = found.get(node.inputs[0]) if node.inputs else None
        if source is None or node.output.type.quant is not None:
            continue
        if isinstance(node.op, Part):
            stop = node.op.start + node.output.type.size
            found[node.output] = source[node.op.start : stop].reshape(node.op.shape)
        if isinstance(node.op, Reshape):
            found[node.output] = source.reshape(node.op.shape)
        elif isinstance(node.op, Move):
            places = node.op.source_of(source.shape)
            taken = source.reshape(-1)[np.maximum(places, 0)]
            found[node.output] = np.where(places < 0, -1, taken)
    return found


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
    raw, none = raw_values(graph), np.iinfo(np.int64).max
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
    source, entries = raw_values(graph)[ids], inputs_of(graph)
    taken = source[source >= 0]
    first = int(taken.min()) if taken.size else 0
    place = next(i for i, entry in enumerate(entries) if entry.start <= first < entry.stop)
    return input_values(graph)[place], np.where(source < 0, -1, source - entries[place].start)


def rows_taken_by(graph: Graph) -> Rows:
    """The rows of a graph's input."""
    return Rows(graph.input.type.shape, vocabularies(graph), inputs_of(graph))


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
