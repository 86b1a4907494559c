"""Fold the factor 1/(1-p) of dropout into the layer or norm that makes the value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Clamp, Contraction, Mask, MatMul, MaxPool2d, Normalize, Op
from qbnnc.passes.parameters import rescaled


@dataclass(frozen=True, slots=True)
class FoldDropoutScale:
    """Mask(scale) becomes Mask(1), a pure select on codes (docs/semantics.md, section 5).

    1. Walk up from the mask through clamps, max pools and moves of elements, each read by nothing
       else, to a linear layer, a convolution, a norm, or a product of two matrices.
    2. The layer's weight and bias, and the bounds of clamps on the way, are multiplied by the scale
       (in float64, rounded once). A product of two matrices has a factor of its own.
    3. Declined where the walk ends elsewhere: the scale then goes into the value's own scale.
    4. A scale below 0 swaps the bounds of clamps. It is declined where a max pool is on the way,
       which would become a min pool. Declined too where the walk ends at a product of matrices. A
       scale of 0 is declined.

    The oracle is the same to rounding.
    """

    name: str = "fold-dropout-scale"

    def __call__(self, graph: Graph, /) -> Graph:
        factors: dict[Value, float] = {}
        for node in graph.nodes:
            if isinstance(node.op, Mask) and node.op.scale != 1.0 and folds(graph, node):
                factors |= {link.output: node.op.scale for link in _chain(graph, node)}
        return rewrite(graph, lambda node, build: _scaled(node, build, factors))


def _chain(graph: Graph, mask: Node) -> Iterator[Node]:
    """The mask, and the nodes above it as far as rule 1 goes."""
    producers, node = graph.producers(), mask
    yield node
    while (above := producers.get(node.inputs[0])) is not None:
        if graph.only_reader(above.output) is None:
            return
        yield above
        if not _lets_through(above.op):
            return
        node = above


def _lets_through(op: Op) -> bool:
    """Whether the walk goes on above an op that commutes with the factor.

    It ends at an average pool, whose own scale takes the factor, and at another mask, whose own
    factor would meet this one in the layer.
    """
    return op.commutes_with_factor and not op.has_own_scale and not isinstance(op, Mask)


def folds(graph: Graph, mask: Node) -> bool:
    """Whether the pass folds the factor of a mask."""
    assert isinstance(mask.op, Mask)
    scale, chain = mask.op.scale, list(_chain(graph, mask))
    commutes = scale > 0 or (scale < 0 and not any(isinstance(n.op, MaxPool2d) for n in chain))
    takes = Contraction | Normalize | MatMul if scale > 0 else Contraction | Normalize
    return commutes and isinstance(chain[-1].op, takes)


def _scaled(node: Node, build: Builder, factors: dict[Value, float]) -> Value | None:
    if (factor := factors.get(node.output)) is None:
        return None
    op, inputs = node.op, node.inputs
    match op:
        case Mask():
            op = Mask(1.0)
        case Clamp():
            op = op.scaled(factor)
        case MatMul():
            op = replace(op, factor=op.factor * factor)
        case Contraction() | Normalize():
            wide = np.asarray(factor)
            inputs = (inputs[0], *(rescaled(v, wide, 0.0, build, node.loc) for v in inputs[1:]))
        case _:
            return None
    return build.emit(op, *inputs, loc=node.loc, name=node.output.name)
