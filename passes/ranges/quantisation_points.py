"""Quantisation points: the values that get a scale and zero point of their own (Figures 1 to 3).

These are each input, or the value that preprocessing makes of it, and the output of every op that
has its own scale, after the clamp that alone reads it. Ops that keep codes keep the scale they get.
Values that a concatenation joins share one, and so does a value of a loop in all its steps
(`repeated_steps`). A linear layer, convolution or function of each
element stays a number, and is no quantisation point, if only outputs of the graph read it, its
elements moved or not. With quantised outputs it is a point like others. A monotone function of
noise that nothing else reads is one point with it: its codes are drawn. A choice between constants
is a point, unless it is the weight or bias of a layer. An embedding is a point, and the ids that it
reads are none. A product that only softmaxes read is none: they take its accumulators.
A state that a recurrence carries is a point of 16 bits, and each view of it is one too.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from qbnnc.ir.graph import Graph, Node, Value, unnumbered
from qbnnc.ir.ids import holds_only_ids
from qbnnc.ir.inputs import input_values
from qbnnc.ir.ops import (
    Add,
    Affine,
    Clamp,
    Concat,
    MatMul,
    Multiply,
    Noise,
    Op,
    Rearrangement,
    ScaledSoftmax,
    SumOfProducts,
)
from qbnnc.passes.options import DRAWN_BITS, Quantisation
from qbnnc.passes.ranges.drawn_codes import is_drawn_choice, number_of_each_lane
from qbnnc.passes.ranges.repeated_steps import repeated_values
from qbnnc.passes.ranges.unweighted_values import is_unweighted, reaches_no_layer


@dataclass(frozen=True, slots=True, eq=False)
class QuantisationPoint:
    """A value to be quantised; `node` computes it (None: an input), `group` shares its scale.

    `residual` says that it is the sum of two values, one of them, or one that is concatenated: the
    trunk of a residual network, to which every block adds its rounding errors, or a skip
    connection, whose values share one scale with others. `drawn` says that it is noise or a choice
    between constants, and `softmax` that a softmax makes it, or that softmaxes alone read it. Codes
    of both have 8 bits at every width. So do `unweighted` ones, which no weight multiplies before a
    norm, or within the steps of a loop.
    """

    value: Value
    node: Node | None
    group: Value
    residual: bool = False
    drawn: bool = False
    softmax: bool = False
    unweighted: bool = False

    @property
    def is_state(self) -> bool:
        """Whether a recurrence carries the value: its codes have 16 bits at every width."""
        return self.node is not None and isinstance(self.node.op, SumOfProducts)

    def bits(self, quantisation: Quantisation) -> int:
        """The bits of its codes."""
        fine = self.drawn or self.softmax
        if fine and self.node is not None and not quantisation.has_own_bits(self.node):
            return DRAWN_BITS
        return quantisation.codes_of(self.node, residual=self.residual, unweighted=self.unweighted)


def quantisation_points(graph: Graph, *, outputs: bool = False) -> tuple[QuantisationPoint, ...]:
    """The points in order; with `outputs` the outputs of the graph are quantised too."""
    found = dict(_points(graph, outputs))
    readers, loops = graph.consumers(), repeated_values(graph)
    groups, residual = _groups(graph, tuple(found), loops), _residual(graph, found)
    of_steps = {unnumbered(value.name) for value in loops}
    return tuple(
        QuantisationPoint(
            value,
            node,
            groups[value],
            value in residual,
            _is_drawn(graph, node, readers),
            _is_softmax(node) or _softmax_alone_reads(graph, value, readers),
            is_unweighted(value, node, readers)
            or (unnumbered(value.name) in of_steps and reaches_no_layer(value, readers)),
        )
        for value, node in found.items()
    )


def _is_drawn(graph: Graph, node: Node | None, readers: Mapping[Value, list[Node]]) -> bool:
    if node is None:
        return False
    return is_drawn_choice(node, readers) or number_of_each_lane(graph, node) is not None


def _points(graph: Graph, outputs: bool) -> Iterator[tuple[Value, Node | None]]:
    for value in input_values(graph):
        if not holds_only_ids(graph, value):
            yield input_point(graph, value), None
    readers, states = graph.consumers(), states_of(graph)
    for node in graph.nodes:
        if is_drawn_choice(node, readers):
            yield clamped(graph, node), node
        elif node.output in states or not states.isdisjoint(node.inputs):
            if isinstance(node.op, SumOfProducts | Clamp):
                yield node.output, node
        elif node.op.has_own_scale and not feeds_softmax(graph, node, readers):
            stays_real = node.op.leaves_as_number and _leaves(node, readers)
            if (outputs or not stays_real) and not _drawn_with_reader(graph, node, outputs):
                yield clamped(graph, node), node


def states_of(graph: Graph) -> frozenset[Value]:
    """The values that recurrences carry from step to step."""
    return frozenset(n.output for n in graph.nodes if isinstance(n.op, SumOfProducts))


def feeds_softmax(graph: Graph, node: Node, readers: Mapping[Value, list[Node]]) -> bool:
    """Whether softmaxes alone read a product, whose accumulators have one scale."""
    product = isinstance(node.op, Multiply | MatMul)
    return product and _softmax_alone_reads(graph, node.output, readers)


def _is_softmax(node: Node | None) -> bool:
    return node is not None and isinstance(node.op, ScaledSoftmax)


def _softmax_alone_reads(graph: Graph, value: Value, readers: Mapping[Value, list[Node]]) -> bool:
    reading = readers.get(value, [])
    return bool(reading) and value not in graph.outputs and all(map(_is_softmax, reading))


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


def input_point(graph: Graph, value: Value) -> Value:
    """An input, or the output of the Affine or clamp that alone reads it, and of a clamp after."""
    reader = graph.only_reader(value)
    if reader is None or not isinstance(reader.op, Affine | Clamp):
        return value
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
    states = states_of(graph)
    found = {clamped(graph, node) for node in sums}
    found |= {node.output for node in graph.nodes if not states.isdisjoint(node.inputs)}
    while open_:
        value = open_.pop()
        if value in points:
            found.add(value)
        elif (node := producers.get(value)) is not None and _passes_on(node.op):
            open_.append(node.inputs[0])
    return frozenset(found & points.keys())


def _passes_on(op: Op) -> bool:
    return op.keeps_codes or isinstance(op, Clamp)


def _groups(
    graph: Graph, points: tuple[Value, ...], loops: Mapping[Value, Hashable]
) -> dict[Value, Value]:
    """Map each point to the first of those whose scale it shares.

    `loops` has the part of each value in the steps of a loop.
    """
    producers = graph.producers()
    group = {point: point for point in points}
    for node in graph.nodes:
        if isinstance(node.op, Concat):
            joined = [p for v in node.inputs for p in _sources(v, group, producers)]
            group = _united(group, points, joined)
    for members in _alike(points, loops):
        group = _united(group, points, members)
    return group


def _alike(
    points: tuple[Value, ...], loops: Mapping[Value, Hashable]
) -> Iterable[tuple[Value, ...]]:
    """The points that are the same value in all steps of a loop."""
    same: dict[Hashable, tuple[Value, ...]] = {}
    for point in points:
        if point in loops:
            same[loops[point]] = (*same.get(loops[point], ()), point)
    return same.values()


def _united(
    group: dict[Value, Value], points: tuple[Value, ...], members: Iterable[Value]
) -> dict[Value, Value]:
    """The groups once those of `members` are one, that of the first point among them."""
    joined = {group[member] for member in members}
    first = next((p for p in points if p in joined), None)
    if first is None:
        return group
    return {p: first if known in joined else known for p, known in group.items()}


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
