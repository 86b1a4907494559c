"""The oracle: run the definition of each op, one node at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops.base import DeterministicOp, RandomOp, Tensor
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array

Observer: TypeAlias = Callable[[Value, Array], None]


def evaluate(
    graph: Graph, x: Array, draw: Draw, observe: Observer | None = None
) -> tuple[Array, ...]:
    """The outputs of `graph` for the batch x [B, *shape], each [L, B, *shape].

    L or B is 1 where an output does not vary with the sample or the row. `observe` sees the input
    and the value of every node. Values are dropped after their last use.
    """
    data: dict[Value, Array] = {graph.input: x[None]}
    data.update({value: array[None, None] for value, array in graph.constants.items()})
    if observe is not None:
        observe(graph.input, data[graph.input])
    dies = last_uses(graph)
    for node in graph.nodes:
        data[node.output] = evaluate_node(node, data, draw)
        if observe is not None:
            observe(node.output, data[node.output])
        for value in dies.get(node, ()):
            del data[value]
    return tuple(data[value] for value in graph.outputs)


def evaluate_node(node: Node, data: dict[Value, Array], draw: Draw) -> Array:
    """The value of one node, given those of its inputs."""
    match node.op:
        case DeterministicOp() as op:
            return op.evaluate(*(Tensor(data[v], v.type) for v in node.inputs))
        case RandomOp() as op:
            return op.draw(draw)
        case op:
            raise TypeError(f"{op.name} is neither deterministic nor random")


def last_uses(graph: Graph) -> dict[Node, tuple[Value, ...]]:
    """The values that no node after this one reads, and that are not outputs."""
    last: dict[Value, Node] = {}
    for node in graph.nodes:
        for value in node.inputs:
            last[value] = node
    ends: dict[Node, list[Value]] = {}
    for value, node in last.items():
        if value not in graph.outputs:
            ends.setdefault(node, []).append(value)
    return {node: tuple(values) for node, values in ends.items()}


def broadcast_output(output: Array, samples: int, rows: int) -> Array:
    """[L, B, *shape] in full, from an output that may have 1 in place of L or B."""
    return np.broadcast_to(output, (samples, rows, *output.shape[2:]))
