"""One output that holds a mean and its variance, each in half of the channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from qbnnc.ir.graph import Graph, Node, Value, rewrite
from qbnnc.ir.ops import (
    Concat,
    Conv2d,
    Conv2dInteger,
    Dequantize,
    Linear,
    LinearInteger,
    Multiply,
    Op,
    Pairwise,
    Reshape,
    Slice,
    Transpose,
)
from qbnnc.ir.types import Stage
from qbnnc.support.errors import Loc


def mean_and_variance_axis(graph: Graph) -> int | None:
    """The axis of the only output's shape whose two halves could be (mean, log_var).

    It is the axis of the channels of the layer that makes the output, or of a concatenation. None
    if the number of channels is odd, or not known.
    """
    value = graph.outputs[0]
    axis = _axis(value, graph.producers())
    return axis if axis is not None and value.type.shape[axis] % 2 == 0 else None


def _axis(value: Value, producers: Mapping[Value, Node]) -> int | None:
    """The axis of the channels of the layer that makes a value; None if it is not known."""
    shape, node = value.type.shape, producers.get(value)
    match None if node is None else node.op:
        case Conv2d() | Conv2dInteger():
            return 0
        case Linear() | LinearInteger():
            return len(shape) - 1
        case Concat(axis=axis):
            return axis
    if node is None or len(shape) == 1:
        return 0 if len(shape) == 1 else None
    above = _axis(node.inputs[0], producers)
    match node.op:
        case op if _keeps_channels(op):
            return above
        case Transpose(permutation=permutation) if above is not None:
            return permutation.index(above)
        case Reshape() | Dequantize() if above is not None:
            return _after_reshape(node.inputs[0].type.shape, shape, above)
        case _:
            return None


def _keeps_channels(op: Op) -> bool:
    """Whether the channels of the first input are those of the result.

    A sum or product may join layers whose channels lie along different axes. Integer ops but the
    last Dequantize are not followed, so that compiled models are read as they always were.
    """
    simulated = Stage.SIMULATED in op.stages
    return op.elementwise and simulated and not isinstance(op, Pairwise | Multiply)


def _after_reshape(old: tuple[int, ...], new: tuple[int, ...], axis: int) -> int | None:
    """The axis of the new shape that holds the elements of an axis of the old one."""
    before = prod(old[:axis])
    places = (i for i, n in enumerate(new) if n == old[axis] and prod(new[:i]) == before)
    return next(places, None)


def split_mean_and_variance(graph: Graph, axis: int) -> Graph:
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
