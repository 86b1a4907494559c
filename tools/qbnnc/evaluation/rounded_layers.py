"""A float network in which some layers alone are rounded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Choice, Clamp, Contraction, FakeQuantize, Mask, Op, SampledWeight
from qbnnc.ir.types import Array
from qbnnc.passes.mixed_precision.layers import Layer, name_of
from qbnnc.passes.ranges.quantisation_points import quantisation_points

_PARTS = (FakeQuantize, SampledWeight, Choice, Mask)  # what weights and biases are made by


def with_rounded_layers(
    simulated: Model, ready: Model, layers: Collection[Layer], *, outputs: bool
) -> Model:
    """The FLOAT Model `ready`, in which the weights and the values of `layers` are rounded.

    They are rounded to the grids of `simulated`, which was made of it: weights to nearest, as what
    fitting changed makes up for other layers too. `outputs` says that outputs are quantised too.
    The Model returned has the stage and the types of `simulated`, and can be evaluated.
    """
    names = {layer.name for layer in layers}
    pairs = zip(simulated.members, ready.members, strict=True)
    members = tuple(_rounded(a, b, names, outputs=outputs) for a, b in pairs)
    return replace(simulated, members=members)


def _rounded(simulated: Graph, ready: Graph, names: Collection[str], *, outputs: bool) -> Graph:
    """The graph with the layers' FakeQuantize nodes alone, and with the float constants.

    Values that a concatenation joins belong to the layer that gives the first of them.
    """
    points = quantisation_points(ready, outputs=outputs)
    owned = {p.group for p in points if p.value is p.group and name_of(p.node) in names}
    given = {point.value.name for point in points if point.group not in owned}
    parameters = dict(_parameters(simulated))
    now, loose, nodes = dict[Value, Value](), set[Value](), list[Node]()
    for node in simulated.nodes:
        inputs = tuple(now.get(value, value) for value in node.inputs)
        if not isinstance(node.op, FakeQuantize):
            if _passes_on(node.op) and not loose.isdisjoint(node.inputs):
                loose.add(node.output)
        elif node.output in parameters:
            if parameters[node.output] not in names:
                now[node.output] = inputs[0]
                continue
        elif node.inputs[0].name in given or node.inputs[0] in loose:
            now[node.output] = inputs[0]
            loose.add(node.output)
            continue
        nodes.append(replace(node, inputs=inputs))
    ends = tuple(now.get(value, value) for value in simulated.outputs)
    constants = _float_constants(simulated, ready)
    return replace(simulated, nodes=tuple(nodes), outputs=ends, constants=constants)


def _float_constants(simulated: Graph, ready: Graph) -> dict[Value, Array]:
    """The constants of the SIMULATED graph, with the weights and biases of the FLOAT one."""
    constants = dict(simulated.constants)
    floats = [n for n in ready.nodes if isinstance(n.op, Contraction)]
    rounded = [n for n in simulated.nodes if isinstance(n.op, Contraction)]
    sources = simulated.producers(), ready.producers()
    for a, b in zip(rounded, floats, strict=True):
        for pair in zip(a.inputs[1:], b.inputs[1:], strict=True):
            found = [
                _constants_of(v, producers) for v, producers in zip(pair, sources, strict=True)
            ]
            for mine, theirs in zip(*found, strict=True):
                if theirs in ready.constants:
                    constants[mine] = ready.constants[theirs]
    return constants


def _constants_of(value: Value, producers: Mapping[Value, Node]) -> list[Value]:
    """The parts of a weight or bias, in order: FakeQuantize nodes are passed over."""
    node = producers.get(value)
    if node is None or not isinstance(node.op, _PARTS):
        return [value]
    return [found for each in node.inputs for found in _constants_of(each, producers)]


def _parameters(graph: Graph) -> Iterator[tuple[Value, str]]:
    """The FakeQuantize outputs that weights and biases are made of, each with its layer's name."""
    producers = graph.producers()
    for layer in graph.nodes:
        if not isinstance(layer.op, Contraction):
            continue
        open_ = list(layer.inputs[1:])
        while open_:
            node = producers.get(open_.pop())
            if node is not None and isinstance(node.op, _PARTS):
                open_ += node.inputs
                if isinstance(node.op, FakeQuantize):
                    yield node.output, name_of(layer)


def _passes_on(op: Op) -> bool:
    """Whether the result is rounded again to the grid of the input, or not at all."""
    return op.keeps_codes or isinstance(op, Clamp)
