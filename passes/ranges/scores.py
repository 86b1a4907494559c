"""Scores: what softmaxes alone read, of which only the largest in a row matter."""

from __future__ import annotations

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import ScaledSoftmax
from qbnnc.ir.types import DType

_DEPTH = 10.0  # exp(-10) is far below half a code of a probability


def score_depths(graph: Graph) -> dict[Value, float]:
    """How far below the greatest of its row a score still matters, for what softmaxes alone read.

    Scores that are masked by large negative numbers lie below. A range that covered these would
    leave no codes for the others.
    """
    found = dict[Value, float]()
    for value, readers in graph.consumers().items():
        softmaxes = [node for node in readers if isinstance(node.op, ScaledSoftmax)]
        if len(softmaxes) < len(readers) or value in graph.outputs:
            continue
        depths = list[float]()
        for node in softmaxes:
            assert isinstance(node.op, ScaledSoftmax)
            biases = [graph.constants[v] for v in node.inputs[1:] if v.type.dtype is DType.F32]
            spread = sum(float(b.max() - b.min()) for b in biases)
            depths.append((_DEPTH + spread) / node.op.factor)
        found[value] = max(depths)
    return found
