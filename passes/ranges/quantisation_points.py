"""Quantisation points: the values that get a scale and zero point of their own (Figures 1 to 3).

These are the input, or the value that preprocessing makes of it, and the output of every op that
has its own scale, after the clamp that alone reads it. Ops that keep codes keep the scale they get.
Values that a concatenation joins share one. A linear layer, convolution or function of each
element stays a number, and is no quantisation point, if only outputs of the graph read it, its
elements moved or not. With quantised outputs it is a point like others. A monotone function of
noise that nothing else reads is one point with it: its codes are drawn. A choice between constants
is a point, unless it is the weight or bias of a layer. An embedding is a point, and the ids that it
reads are none. A product that only softmaxes read is none: they take its accumulators.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ids import holds_only_ids
from qbnnc.ir.ops import (
    Add,
    Affine,
    Clamp,
    Concat,
    Multiply,
    Noise,
    Op,
    Rearrangement,
    ScaledSoftmax,
)
from qbnnc.passes.options import DRAWN_BITS, Quantisation
from qbnnc.passes.ranges.drawn_codes import is_drawn_choice, number_of_each_lane


@dataclass(frozen=True, slots=True, eq=False)
class QuantisationPoint:
    """A value to be quantised; `node` computes it (None: the input), `group` shares its scale.

    `residual` says that it is the sum of two values, one of them, or one that is concatenated: the
    trunk of a residual network, to which every block adds its rounding errors, or a skip
    connection, whose values share one scale with others. `drawn` says that it is noise or a choice
    between constants: its codes have 8 bits at every width.
    """

    value: Value
    node: Node | None
    group: Value
    residual: bool = False
    drawn: bool = False

    def bits(self, quantisation: Quantisation) -> int:
        """The bits of its codes."""
        if self.drawn and self.node is not None and not quantisation.has_own_bits(self.node):
            return DRAWN_BITS
        return quantisation.codes_of(self.node, residual=self.residual)


def quantisation_points(graph: Graph, *, outputs: bool = False) -> tuple[QuantisationPoint, ...]:
    """The points in order; with `outputs` the outputs of the graph are quantised too."""
    found = dict(_points(graph, outputs))
    groups, residual = _groups(graph, tuple(found)), _residual(graph, found)
    readers = graph.consumers()
    return tuple(
        QuantisationPoint(
            value, node, groups[value], value in residual, _is_drawn(graph, node, readers)
        )
        for value, node in found.items()
    )


def _is_drawn(graph: Graph, node: Node | None, readers: Mapping[Value, list[Node]]) -> bool:
    if node is None:
        return False
    return is_drawn_choice(node, readers) or number_of_each_lane(graph, node) is not None


def _points(graph: Graph, outputs: bool) -> Iterator[tuple[Value, Node | None]]:
    if not holds_only_ids(graph):
        yield input_point(graph), None
    readers = graph.consumers()
    for node in graph.nodes:
        if is_drawn_choice(node, readers):
            yield clamped(graph, node), node
        elif node.op.has_own_scale and not feeds_softmax(graph, node, readers):
            stays_real = node.op.leaves_as_number and _leaves(node, readers)
            if (outputs or not stays_real) and not _drawn_with_reader(graph, node, outputs):
                yield clamped(graph, node), node


def feeds_softmax(graph: Graph, node: Node, readers: Mapping[Value, list[Node]]) -> bool:
    """Whether softmaxes alone read a product, whose accumulators have one scale."""
    reading = readers.get(node.output, [])
    return (
        isinstance(node.op, Multiply)
        and bool(reading)
        and node.output not in graph.outputs
        and all(isinstance(reader.op, ScaledSoftmax) for reader in reading)
    )


def _drawn_with_reader(graph: Graph, node: Node, outputs: bool) -> bool:
    """Whether a node is noise, and a function of it is a point whose codes are drawn."""
    reader = graph.only_reader(node.output)
    if reader is None or not isinstance(node.op, Noise) or node.output in graph.outputs:
        return False
    stays_real = _leaves(reader, graph.consumers()) and not outputs
    return not stays_real and number_of_each_lane(graph, reader) is not None


def _leaves(node: Node, readers: Mapping[Value, list[Node]]) -> bool:
    """Whether nothing but moves of elements on the way out reads this node."""
    return all(only_moves(n.op) and _leaves(n, readers) for n in readers.get(node.output, ()))


def only_moves(op: Op) -> bool:
    """Whether every element of the result is one of the input: no new zeros."""
    return isinstance(op, Rearrangement) and not op.adds_zeros


def input_point(graph: Graph) -> Value:
    """The input, or the output of the Affine or clamp that alone reads it, and of a clamp after."""
    reader = graph.only_reader(graph.input)
    if reader is None or not isinstance(reader.op, Affine | Clamp):
        return graph.input
    return clamped(graph, reader) if isinstance(reader.op, Affine) else reader.output


def clamped(graph: Graph, node: Node) -> Value:
    """The output of the clamp that alone reads this node, or the node's own."""
    reader = graph.only_reader(node.output)
    return reader.output if reader is not None and isinstance(reader.op, Clamp) else node.output


def _residual(graph: Graph, points: Mapping[Value, Node | None]) -> frozenset[Value]:
    """The points that are sums, or that sums and concatenations read, masked or clamped before."""
    producers = graph.producers()
    sums = [node for node in graph.nodes if isinstance(node.op, Add | Concat)]
    open_ = [value for node in sums for value in node.inputs]
    found = {clamped(graph, node) for node in sums}
    while open_:
        value = open_.pop()
        if value in points:
            found.add(value)
        elif (node := producers.get(value)) is not None and _passes_on(node.op):
            open_.append(node.inputs[0])
    return frozenset(found & points.keys())


def _passes_on(op: Op) -> bool:
    return op.keeps_codes or isinstance(op, Clamp)


def _groups(graph: Graph, points: tuple[Value, ...]) -> dict[Value, Value]:
    """Map each point to the first of those whose scale it shares."""
    producers = graph.producers()
    group = {point: point for point in points}
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            joined = {group[p] for v in node.inputs for p in _sources(v, group, producers)}
            first = next((p for p in points if p in joined), None)
            group |= {p: first for p in points if first is not None and group[p] in joined}
    return group


def _sources(
    value: Value, points: Mapping[Value, Value], producers: Mapping[Value, Node]
) -> Iterator[Value]:
    """The points whose scale a value has; none if a mask's factor is between.

    A clamp does not keep codes, as its bounds lie between them. But a clamp that is no point is
    rounded again to the grid of its input (InsertFakeQuantize, rule 2), so that it has its scale.
    """
    if value in points:
        yield value
        return
    node = producers.get(value)
    if node is not None and _passes_on(node.op) and node.op.grid_factor == 1.0:
        yield from _sources(node.inputs[0], points, producers)
