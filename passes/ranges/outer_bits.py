"""Bits of the first and the last hidden layer, which cost most at few bits."""

from __future__ import annotations

from dataclasses import replace

from qbnnc.ir.graph import Graph, Node
from qbnnc.passes.options import Quantisation
from qbnnc.passes.ranges.quantisation_points import quantisation_points


def with_outer_bits(options: Quantisation, graph: Graph) -> Quantisation:
    """The options with more bits for the first and the last hidden layer of a network.

    Each sample, or each member of an ensemble, rounds values of its own. The errors add to the
    variance between them, which is the epistemic uncertainty. The first and the last hidden layer
    add most: all others carry the errors of the first, and nothing averages those of the last.

    `graph` is FLOAT, and its layers can be quantised. Hidden layers are the quantisation
    points but the input and the outputs. A layer that `options.layers` names stays as it is.
    """
    if options.outer_width == options.bits.activations:
        return options
    hidden = _hidden_layers(graph)
    own = dict(options.layers)
    for node in (*hidden[:1], *hidden[-1:]):
        if not options.has_own_bits(node):
            own[node.output.name] = replace(options.bits, activations=options.outer_width)
    return replace(options, layers=own)


def _hidden_layers(graph: Graph) -> list[Node]:
    """The nodes whose codes are chosen: the first of each group that shares a scale."""
    outputs = set(graph.outputs)
    return [
        point.node
        for point in quantisation_points(graph)
        if point.node is not None and point.value is point.group and point.value not in outputs
        if not point.drawn
    ]
