"""Ids of tokens and categories: which numbers of the input they are, and their vocabularies.

The input is f32 whatever it holds. Numbers of it are ids if embeddings read them, moved or not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node, Value
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
