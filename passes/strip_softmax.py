"""Strip the softmax that ends a classifier: it belongs to the head."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qbnnc.ir.graph import Graph, rewrite
from qbnnc.ir.ops import Softmax
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True)
class StripSoftmax:
    """1. The only output, made by a softmax or log_softmax over the classes (axis 0 of the shape),
       becomes the softmax's input.
    2. Declined, with an error, for a softmax over another axis, of one output among several, or
       that another layer reads: attention and the like have no integer form here.

    The samples are logits from here on; `qbnnc.ir.head` does the rest.
    """

    name: str = "cut-softmax"

    def __call__(self, graph: Graph, /) -> Graph:
        if ends_in_softmax(graph):
            logits = graph.producers()[graph.outputs[0]].inputs[0]
            graph = rewrite(replace(graph, outputs=(logits,)), lambda node, build: None)
        for node in graph.nodes:
            if isinstance(node.op, Softmax):
                raise CompileError(
                    "only a softmax over the classes that makes the one output compiles",
                    node.loc,
                    remedy="return logits, and leave the rest to what reads them",
                )
        return graph


def ends_in_softmax(graph: Graph) -> bool:
    """Whether the only output is a softmax or log_softmax over the classes: a classifier."""
    last = graph.producers().get(graph.outputs[0])
    op = None if last is None else last.op
    return len(graph.outputs) == 1 and isinstance(op, Softmax) and op.axis == 0
