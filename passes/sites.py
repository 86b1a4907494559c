"""Where codes will be: the values that get a scale and zero point of their own (Figures 1 and 2).

The input, or what preprocessing makes of it; and the output of every linear layer, convolution,
average pool and addition, after the clamp that alone reads it. Max pools, reshapes and dropout
masks keep the scale they get. A linear layer's or convolution's output that only leaves the graph
stays an accumulator and has no site.
"""

from __future__ import annotations

from collections.abc import Iterator

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Add, Affine, AveragePool2d, Clamp, Conv2d, Linear


def quantised_sites(graph: Graph) -> tuple[Value, ...]:
    """The values to be observed and quantised, in order."""
    return tuple(dict.fromkeys(_sites(graph)))


def _sites(graph: Graph) -> Iterator[Value]:
    yield input_site(graph)
    for node in graph.nodes:
        if isinstance(node.op, Linear | Conv2d | AveragePool2d | Add):
            value = clamped(graph, node)
            if not leaves_as_accumulator(graph, node):
                yield value


def input_site(graph: Graph) -> Value:
    """The input, or the output of the Affine that alone reads it, and of a clamp after that."""
    reader = graph.only_reader(graph.input)
    if reader is None or not isinstance(reader.op, Affine | Clamp):
        return graph.input
    return clamped(graph, reader) if isinstance(reader.op, Affine) else reader.output


def clamped(graph: Graph, node: Node) -> Value:
    """The output of the clamp that alone reads this node, or the node's own."""
    reader = graph.only_reader(node.output)
    return reader.output if reader is not None and isinstance(reader.op, Clamp) else node.output


def leaves_as_accumulator(graph: Graph, node: Node) -> bool:
    """Whether this is a linear layer or convolution that only the graph's outputs read."""
    unread = not any(node.output in reader.inputs for reader in graph.nodes)
    return isinstance(node.op, Linear | Conv2d) and unread
