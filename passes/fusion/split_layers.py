"""A layer whose output is cut into channels becomes one layer for each cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Choice, Contraction, Conv2d, Mask, SampledWeight, Slice
from qbnnc.ir.types import Array


@dataclass(frozen=True, slots=True)
class SplitLayers:
    """1. A slice of channels (axis 0 of the shape) of a linear layer or convolution becomes that
       layer with these rows of weight and bias. Only such slices may read the layer. So
       `mu, log_var = net(x).split(1, 1)` leaves as accumulators, not as codes of one scale.
    2. A sampled weight has its mu, sigma and the index of its noise cut, and a choice its members.
    3. Declined for convolutions in groups, and for weights and biases under a mask.

    The oracle is the same bit for bit, but for the order of float sums.
    """

    name: str = "split-layers"

    def __call__(self, graph: Graph, /) -> Graph:
        split = _splittable(graph)
        return rewrite(graph, lambda node, build: _cut(node, build, split))


def _splittable(graph: Graph) -> set[str]:
    """The names of the layers that nothing but slices of channels reads."""
    consumers, producers = graph.consumers(), graph.producers()
    return {
        node.output.name
        for node in graph.nodes
        if isinstance(node.op, Contraction) and not _in_groups(node.op)
        if not any(_is_masked(producers.get(parameter)) for parameter in node.inputs[1:])
        if node.output not in graph.outputs
        and all(isinstance(n.op, Slice) and n.op.axis == 0 for n in consumers[node.output])
    }


def _is_masked(parameter: Node | None) -> bool:
    return parameter is not None and isinstance(parameter.op, Mask)


def _in_groups(op: Contraction) -> bool:
    return isinstance(op, Conv2d) and op.groups != 1


def _cut(node: Node, build: Builder, split: set[str]) -> Value | None:
    if not isinstance(node.op, Slice) or node.inputs[0].name not in split:
        return None
    layer = build.producer(node.inputs[0])
    if layer is None or node.op.axis != 0:
        return None
    x, *parameters = layer.inputs
    rows = slice(node.op.start, node.op.stop, node.op.step)
    cut = (_rows(parameter, rows, build) for parameter in parameters)
    return build.emit(layer.op, x, *cut, loc=layer.loc, name=node.output.name)


def _rows(parameter: Value, rows: slice, build: Builder) -> Value:
    """Some rows of a weight or bias."""
    if (array := build.array(parameter)) is not None:
        return _constant(parameter.name, array[rows], build)
    sampled = build.producer(parameter)
    assert sampled is not None
    if isinstance(sampled.op, Choice):
        return _members(sampled, rows, build)
    assert isinstance(sampled.op, SampledWeight)
    mu, sigma, eps, *index = sampled.inputs
    arrays = [build.array(value) for value in (mu, sigma, *index)]
    if not index:
        arrays.append(np.arange(mu.type.size, dtype=np.int32).reshape(mu.type.shape))
    names = (mu.name, sigma.name, f"{parameter.name}.index")
    cut = [
        _constant(name, array[rows], build)
        for name, array in zip(names, arrays, strict=True)
        if array is not None
    ]
    inputs = (cut[0], cut[1], eps, cut[2])
    return build.emit(sampled.op, *inputs, loc=sampled.loc, name=parameter.name)


def _members(choice: Node, rows: slice, build: Builder) -> Value:
    """Some rows of every member of a choice."""
    values, index = choice.inputs
    array = build.array(values)
    assert array is not None  # a choice is between constants
    cut = _constant(values.name, array[:, rows], build)
    return build.emit(choice.op, cut, index, loc=choice.loc, name=choice.output.name)


def _constant(name: str, array: Array, build: Builder) -> Value:
    return build.constant(name, np.ascontiguousarray(array))
