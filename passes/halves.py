"""One output that holds the mean and what says its variance, each half of the channels."""

from __future__ import annotations

from dataclasses import replace

from qbnnc.ir.errors import Loc
from qbnnc.ir.graph import Graph, Node, Value, rewrite
from qbnnc.ir.ops import (
    Affine,
    BatchNorm,
    Clamp,
    Concat,
    Conv2d,
    Conv2dInteger,
    Dequantize,
    FakeQuantize,
    Linear,
    LinearInteger,
    Mask,
    Reshape,
    Slice,
    Unary,
)


def halves_axis(graph: Graph) -> int | None:
    """The axis of the only output's shape whose two halves could be (mean, log_var).

    The channels of the layer that makes it, or what a concatenation joins; None if their number is
    odd, or not known.
    """
    value, producers = graph.outputs[0], graph.producers()
    axis = _axis(producers.get(value), producers, len(value.type.shape))
    return axis if axis is not None and value.type.shape[axis] % 2 == 0 else None


def _axis(node: Node | None, producers: dict[Value, Node], rank: int) -> int | None:
    while node is not None:
        shape = node.output.type.shape
        match node.op:
            case Conv2d() | Conv2dInteger():
                return 0
            case Linear() | LinearInteger():
                return len(shape) - 1
            case Concat(axis=axis):
                return axis
            case Affine() | BatchNorm() | Clamp() | Unary() | Mask() | FakeQuantize():
                pass
            case Reshape() | Dequantize() if shape[:1] == node.inputs[0].type.shape[:1]:
                pass
            case _:
                break
        node = producers.get(node.inputs[0])
    return 0 if rank == 1 else None


def split_halves(graph: Graph, axis: int) -> Graph:
    """The graph with two outputs, the halves of its one along this axis of the shape."""
    whole, producers = graph.outputs[0], graph.producers()
    loc = producers[whole].loc if whole in producers else Loc(whole.name)
    extent, nodes = whole.type.shape[axis], list[Node]()
    for number, start in enumerate((0, extent // 2)):
        op = Slice(axis, start, start + extent // 2)
        half = Value(f"{whole.name}.{number}", op.infer(whole.type))
        nodes.append(Node(op, (whole,), half, loc))
    outputs = tuple(node.output for node in nodes)
    split = replace(graph, nodes=(*graph.nodes, *nodes), outputs=outputs)
    return rewrite(split, lambda node, build: None)
