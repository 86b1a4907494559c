"""Bits that keep the differences between the members of an ensemble."""

from __future__ import annotations

from dataclasses import replace

from qbnnc.ir.graph import Graph, Node
from qbnnc.passes.options import Quantisation
from qbnnc.passes.ranges.quantisation_points import quantisation_points


def with_member_bits(options: Quantisation, graph: Graph) -> Quantisation:
    """The options of an ensemble: more bits for its first and its last hidden layer.

    Each member rounds its own values. The errors are independent, and add to the variance between
    the members, which is the epistemic uncertainty. The first and the last hidden layer add most.

    `graph` is a member, FLOAT, whose layers can be quantised. Hidden layers are the quantisation
    points but the input and the outputs. A layer that `options.layers` names stays as it is.
    """
    hidden = _hidden_layers(graph)
    own = dict(options.layers)
    for node in (*hidden[:1], *hidden[-1:]):
        bits = options.bits_of(node)
        if bits.activations != options.member_width and not options.has_own_bits(node):
            own[node.output.name] = replace(bits, activations=options.member_width)
    return replace(options, layers=own)


def _hidden_layers(graph: Graph) -> list[Node]:
    """The nodes whose codes are chosen: the first of each group that shares a scale."""
    outputs = set(graph.outputs)
    return [
        point.node
        for point in quantisation_points(graph)
        if point.node is not None and point.value is point.group and point.value not in outputs
    ]
