"""Outputs that depend on neither the input nor chance become constants of the graph."""

from __future__ import annotations

from dataclasses import replace

from qbnnc.ir.evaluate import evaluate_node
from qbnnc.ir.graph import Graph, Value, rewrite
from qbnnc.ir.ops import DeterministicOp
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import CONSTANT, Array


def fold_constant_outputs(graph: Graph) -> Graph:
    """The graph with every output that is computed from constants alone as one constant."""
    if not any(v.type.axes == CONSTANT and v not in graph.constants for v in graph.outputs):
        return graph
    data: dict[Value, Array] = {v: array[None, None] for v, array in graph.constants.items()}
    draw = Draw.of(0, [0], [0])
    for node in graph.nodes:
        if isinstance(node.op, DeterministicOp) and all(v in data for v in node.inputs):
            data[node.output] = evaluate_node(node, data, draw)
    constants, outputs = dict(graph.constants), list[Value]()
    for value in graph.outputs:
        if value.type.axes == CONSTANT and value not in graph.constants:
            array = data[value][0, 0]
            value = replace(value, type=replace(value.type, quant=None))
            constants[value] = array
        outputs.append(value)
    folded = replace(graph, constants=constants, outputs=tuple(outputs))
    return rewrite(folded, lambda node, build: None)
