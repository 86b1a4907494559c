"""Strip the softmax or sigmoid that ends a classifier: it belongs to the head."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qbnnc.ir.graph import Graph, Node, Value, rewrite
from qbnnc.ir.ops import Function, Reshape, Slice, Softmax, Transpose, Unary
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True)
class StripSoftmax:
    """1. The only output, made by a softmax or log_softmax over the classes (axis 0 of the shape),
       becomes the softmax's input.
    2. Any other softmax stays, and is an op like others.
    3. Declined, with an error, for a log_softmax over another axis, of one output among several, or
       that another layer reads.

    The samples are logits from here on; `qbnnc.ir.head` does the rest.
    """

    name: str = "cut-softmax"

    def __call__(self, graph: Graph, /) -> Graph:
        if ends_in_softmax(graph):
            logits = graph.producers()[graph.outputs[0]].inputs[0]
            graph = rewrite(replace(graph, outputs=(logits,)), lambda node, build: None)
        for node in graph.nodes:
            if isinstance(node.op, Softmax) and node.op.log:
                raise CompileError(
                    "only a log_softmax over the classes that makes the one output compiles",
                    node.loc,
                    remedy="use softmax, or return logits and leave the rest to what reads them",
                )
        return graph


def ends_in_softmax(graph: Graph) -> bool:
    """Whether the only output is a softmax or log_softmax over the classes: a classifier."""
    last = graph.producers().get(graph.outputs[0])
    op = None if last is None else last.op
    return len(graph.outputs) == 1 and isinstance(op, Softmax) and op.axis == 0


def ends_in_sigmoid(graph: Graph) -> bool:
    """Whether the only output is a sigmoid, perhaps moved or reshaped."""
    return len(graph.outputs) == 1 and _sigmoid(graph) is not None


def strip_sigmoid(graph: Graph) -> Graph:
    """1. The only output, made by a sigmoid, becomes the sigmoid's input: the logit.
    2. Nodes that reshape the probabilities on the way out reshape the logits.
    3. A graph that ends otherwise stays as it is.
    """
    node = _sigmoid(graph) if len(graph.outputs) == 1 else None
    if node is None:
        return graph
    value, moved = node.inputs[0], list[Node]()
    for move in _moves(graph):
        output = Value(move.output.name, replace(move.output.type, axes=value.type.axes))
        moved.append(replace(move, inputs=(value,), output=output))
        value = output
    cut = replace(graph, nodes=(*graph.nodes, *moved), outputs=(value,))
    return rewrite(cut, lambda node, build: None)


def _sigmoid(graph: Graph) -> Node | None:
    moves, producers = _moves(graph), graph.producers()
    node = producers.get(moves[0].inputs[0] if moves else graph.outputs[0])
    is_sigmoid = node is not None and node.op == Unary(Function.SIGMOID)
    return node if is_sigmoid else None


def _moves(graph: Graph) -> list[Node]:
    """The nodes on the way out that only move elements, in order.

    Gather and UpsampleNearest are not among them: a repeated probability is no class of its own.
    """
    moves, producers = list[Node](), graph.producers()
    node = producers.get(graph.outputs[0])
    while node is not None and isinstance(node.op, Reshape | Transpose | Slice):
        moves.insert(0, node)
        node = producers.get(node.inputs[0])
    return moves
