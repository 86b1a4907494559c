"""Where codes will be: the values that get a scale and zero point of their own (Figures 1 to 3).

The input, or what preprocessing makes of it; and the output of every op that computes (linear
layer, convolution, average pool, sum, product, function of each element), after the clamp that
alone reads it. Max pools, moves of elements, concatenations and dropout masks keep the scale they
get; values that a concatenation joins share one. A linear layer, convolution or function of each
element that only the graph's outputs read, its elements moved or not, stays a number and has no
site, unless outputs are to be quantised too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    Add,
    Affine,
    AveragePool2d,
    Clamp,
    Concat,
    Conv2d,
    InsertZeros,
    Linear,
    Mask,
    MaxPool2d,
    Move,
    Multiply,
    Op,
    Pad,
    Pointwise,
    Reshape,
)


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A value to be quantised; `node` computes it (None: the input), `group` shares its scale."""

    value: Value
    node: Node | None
    group: Value


def quantised_sites(graph: Graph, *, outputs: bool = False) -> tuple[Site, ...]:
    """The sites in order; with `outputs` what leaves the graph is quantised too."""
    found = dict(_sites(graph, outputs))
    groups = _groups(graph, tuple(found))
    return tuple(Site(value, node, groups[value]) for value, node in found.items())


def _sites(graph: Graph, outputs: bool) -> Iterator[tuple[Value, Node | None]]:
    yield input_site(graph), None
    readers = graph.consumers()
    for node in graph.nodes:
        if isinstance(node.op, Linear | Conv2d | AveragePool2d | Add | Multiply | Pointwise):
            stays_real = isinstance(node.op, Linear | Conv2d | Pointwise) and _leaves(node, readers)
            if outputs or not stays_real:
                yield clamped(graph, node), node


def _leaves(node: Node, readers: Mapping[Value, list[Node]]) -> bool:
    """Whether nothing but moves of elements on the way out reads this node."""
    return all(moves_all(n.op) and _leaves(n, readers) for n in readers.get(node.output, ()))


def moves_all(op: Op) -> bool:
    """Whether every element of the result is one of the input: no new zeros."""
    return isinstance(op, Reshape | Move) and not isinstance(op, Pad | InsertZeros)


def input_site(graph: Graph) -> Value:
    """The input, or the output of the Affine or clamp that alone reads it, and of a clamp after."""
    reader = graph.only_reader(graph.input)
    if reader is None or not isinstance(reader.op, Affine | Clamp):
        return graph.input
    return clamped(graph, reader) if isinstance(reader.op, Affine) else reader.output


def clamped(graph: Graph, node: Node) -> Value:
    """The output of the clamp that alone reads this node, or the node's own."""
    reader = graph.only_reader(node.output)
    return reader.output if reader is not None and isinstance(reader.op, Clamp) else node.output


def _groups(graph: Graph, sites: tuple[Value, ...]) -> dict[Value, Value]:
    """site -> the first site of those whose scale it shares."""
    producers = graph.producers()
    group = {site: site for site in sites}
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            joined = {group[s] for v in node.inputs for s in _sources(v, group, producers)}
            first = next((s for s in sites if s in joined), None)
            group |= {s: first for s in sites if first is not None and group[s] in joined}
    return group


def _sources(
    value: Value, sites: Mapping[Value, Value], producers: Mapping[Value, Node]
) -> Iterator[Value]:
    """The sites whose scale a value has; none if a mask's factor is between."""
    if value in sites:
        yield value
        return
    match producers.get(value):
        case Node(op=MaxPool2d() | Reshape() | Move() | Clamp() | Mask(scale=1.0)) as node:
            yield from _sources(node.inputs[0], sites, producers)
        case Node(op=Concat()) as node:
            yield from _sources(node.inputs[0], sites, producers)
