"""Cut off the softmax that ends a classifier: it belongs to the head."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Graph, rewrite
from qbnnc.ir.ops import Softmax


@dataclass(frozen=True, slots=True)
class CutSoftmax:
    """1. An output that a softmax or log_softmax made becomes what entered it.
    2. Declined, with an error, for a softmax that another layer reads: attention and the like have
       no integer form here.

    The samples are logits from here on; `qbnnc.ir.head` does the rest.
    """

    name: str = "cut-softmax"

    def __call__(self, graph: Graph, /) -> Graph:
        made = {n.output: n.inputs[0] for n in graph.nodes if isinstance(n.op, Softmax)}
        outputs = tuple(made.get(value, value) for value in graph.outputs)
        graph = rewrite(replace(graph, outputs=outputs), lambda node, build: None)
        for node in graph.nodes:
            if isinstance(node.op, Softmax):
                raise CompileError(
                    "a softmax inside the network has no integer form: only one that makes an "
                    "output compiles",
                    node.loc,
                )
        return graph


def ends_in_softmax(graph: Graph) -> bool:
    """Whether the only output is a softmax or log_softmax: a classifier."""
    last = graph.producers().get(graph.outputs[0])
    return len(graph.outputs) == 1 and last is not None and isinstance(last.op, Softmax)
