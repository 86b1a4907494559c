"""Functions asked for numbers outside their domain: logarithms, roots, reciprocals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Composite, Pointwise, Unary
from qbnnc.support.errors import CompileError

_POINTS = 513


def functions_of(graph: Graph) -> tuple[Node, ...]:
    """The nodes that are a function of each element."""
    return tuple(node for node in graph.nodes if isinstance(node.op, Pointwise))


def refuse_undefined(graph: Graph, ranges: Mapping[Value, tuple[float, float]]) -> None:
    """Raise CompileError if a function is NaN or infinite somewhere on the range of its input.

    `ranges` holds the range of the input of each function. Between the calibration's numbers there
    are codes too: 1/x is infinite on -1..1 even if no number was 0.
    """
    for node in functions_of(graph):
        low, high = ranges[node.inputs[0]]
        if not np.isfinite([low, high]).all():
            continue  # the layer before it is at fault
        points = np.linspace(low, high, _POINTS)
        points = np.append(points, 0.0) if low <= 0.0 <= high else points
        values = _function(node).of(points.astype(np.float32))
        if not np.isfinite(values).all():
            raise CompileError(
                f"{_name(node)} is NaN or infinite on part of {low:.6g} to {high:.6g}, the "
                "range of what it is given on the calibration data",
                node.loc,
                remedy="keep it inside the domain, by a clamp or a constant added before, as in "
                "torch.log(x.clamp(min=1e-6))",
            )


def _function(node: Node) -> Pointwise:
    assert isinstance(node.op, Pointwise)
    return node.op


def _name(node: Node) -> str:
    match node.op:
        case Unary(function):
            return function.value
        case Composite(steps):
            names = (step.function for step in steps if step.function is not None)
            used = dict.fromkeys(function.value for function in names)
            return f"the function made of {', '.join(used)}" if used else "the function"
    return "the function"
