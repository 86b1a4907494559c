"""Values that only saturating functions read: beyond a limit they tell these nothing."""

from __future__ import annotations

from collections.abc import Mapping

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Composite, Function, Unary

_LIMITS = {Function.TANH: 3.2, Function.SIGMOID: 5.5}
"""Where a function is half a code of 8 bits, or .004 of its range, from the value it tends to."""


def saturation_limits(graph: Graph) -> dict[Value, float]:
    """The magnitude beyond which a value does not matter, for what tanh and sigmoid alone read.

    A range that covered larger numbers would have fewer codes for those that matter.
    """
    found = dict[Value, float]()
    readers: Mapping[Value, list[Node]] = graph.consumers()
    for value, nodes in readers.items():
        limits = [_limit(node) for node in nodes]
        known = [limit for limit in limits if limit is not None]
        if len(known) == len(limits) and value not in graph.outputs:
            found[value] = max(known)
    return found


def _limit(node: Node) -> float | None:
    match node.op:
        case Unary(function):
            return _LIMITS.get(function)
        case Composite(steps):
            reading = [step for step in steps if 0 in step.operands]
            if len(reading) == 1 and reading[0].function is not None:
                return _LIMITS.get(reading[0].function)
    return None
