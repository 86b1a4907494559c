"""Values that are drawn, and computed from no input: noise, functions of it, and choices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Choice, Contraction, Mask, Noise, Pointwise
from qbnnc.ir.types import Array


def number_of_each_lane(graph: Graph, node: Node) -> tuple[Noise, Array] | None:
    """The noise that alone decides what a node gives, and its number for each lane, f32 [65536].

    The node is noise, or a monotone function of noise that nothing else reads. None for any other.
    """
    if isinstance(node.op, Noise):
        return node.op, node.op.distribution.table
    if not isinstance(node.op, Pointwise):
        return None
    made = graph.producers().get(node.inputs[0])
    if made is None or not isinstance(made.op, Noise) or graph.only_reader(made.output) is not node:
        return None
    numbers: Array = node.op.of(made.op.distribution.table)
    steps = np.diff(numbers)
    monotone = bool((steps >= 0).all() or (steps <= 0).all())
    return (made.op, numbers) if monotone and bool(np.isfinite(numbers).all()) else None


def is_parameter(value: Value, readers: Mapping[Value, list[Node]]) -> bool:
    """Whether a value is the weight or bias of layers, perhaps under a mask, and nothing else."""
    return all(
        (isinstance(node.op, Contraction) and value in node.inputs[1:])
        or (isinstance(node.op, Mask) and is_parameter(node.output, readers))
        for node in readers.get(value, ())
    )


def is_drawn_choice(node: Node, readers: Mapping[Value, list[Node]]) -> bool:
    """Whether a node chooses between constants that are no weights or biases."""
    return isinstance(node.op, Choice) and not is_parameter(node.output, readers)
