"""One traced network whose outputs have an axis of members, as the network of each member."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from qbnnc.frontend.convert.draw_sources import DrawSource
from qbnnc.frontend.members.blocks import Block
from qbnnc.frontend.members.narrow import Narrowed, narrowed
from qbnnc.frontend.members.rules import rule_for
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import ChoiceIndex, KeepMask, Noise, Normal, RandomOp


def of_member(graph: Graph, outputs: Sequence[bool], count: int, index: int) -> Narrowed:
    """Member `index` of `count`: its part of the outputs whose first axis is that of members."""
    blocks = [Block(0, 1, count, 1, index) if has_members else None for has_members in outputs]
    return narrowed(graph, blocks, rule_for(graph.constants))


def with_own_streams(
    found: Narrowed, draws: Sequence[DrawSource]
) -> tuple[Graph, tuple[DrawSource, ...]]:
    """The member's graph with its streams numbered from 0, and the sources of their numbers."""
    graph = found.graph
    streams = sorted({n.op.stream for n in graph.nodes if isinstance(n.op, RandomOp)})
    number = {stream: i for i, stream in enumerate(streams)}
    nodes = tuple(_numbered(node, number) for node in graph.nodes)
    sources = tuple(_source(draws[stream], found.lanes.get(stream)) for stream in streams)
    return replace(graph, nodes=nodes), sources


def _numbered(node: Node, number: dict[int, int]) -> Node:
    match node.op:
        case (KeepMask() | Normal() | Noise() | ChoiceIndex()) as op:
            return replace(node, op=replace(op, stream=number[op.stream]))
        case _:
            return node


def _source(source: DrawSource, lanes: tuple[int, ...] | None) -> DrawSource:
    """The source of these lanes of a stream."""
    if lanes is None or source.elements is None:
        return source
    own = torch.tensor(lanes)
    return replace(source, elements=tuple(each[:, own] for each in source.elements))


def named_like(graph: Graph, first: Graph) -> Graph:
    """The graph with the names of `first`, if both are one network; else as it is."""
    if len(graph.nodes) != len(first.nodes):
        return graph
    names: dict[Value, str] = {graph.input: first.input.name}
    for mine, theirs in zip(graph.nodes, first.nodes, strict=True):
        if type(mine.op) is not type(theirs.op) or len(mine.inputs) != len(theirs.inputs):
            return graph
        pairs = zip((*mine.inputs, mine.output), (*theirs.inputs, theirs.output), strict=True)
        for value, other in pairs:
            if names.setdefault(value, other.name) != other.name:
                return graph
    if len(set(names.values())) < len(names):
        return graph
    return _renamed(graph, names)


def _renamed(graph: Graph, names: dict[Value, str]) -> Graph:
    new = {value: replace(value, name=name) for value, name in names.items()}
    nodes = tuple(
        replace(node, inputs=tuple(new[v] for v in node.inputs), output=new[node.output])
        for node in graph.nodes
    )
    constants = {new[value]: array for value, array in graph.constants.items() if value in new}
    outputs = tuple(new[value] for value in graph.outputs)
    return Graph(new[graph.input], nodes, outputs, constants, graph.stage)
