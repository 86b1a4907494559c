"""Classes of channels that one factor must scale: what lies between layers ties them together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    Add,
    AveragePool2d,
    Clamp,
    Concat,
    Contraction,
    Conv2d,
    Function,
    Mask,
    MaxPool2d,
    MaxUnpool,
    Move,
    Op,
    Rearrangement,
    Unary,
)

Index = NDArray[np.int64]

FIXED = 0
"""The class of all elements that keep their scale."""
_ZERO = -1  # an element that is always 0: any factor fits


class TiedChannels:
    """The class of every element of every value of a FLOAT graph.

    Multiplying all elements of one class by one positive factor, in the layers that make them, and
    dividing the columns of the layers that read them, leaves every output as it is. A class begins
    as one output channel of a layer. Masks, ReLUs, leaky ReLUs, pools, moves of elements and joins
    pass the classes on. An addition, a pool and the positions of a convolution unite some. All that
    any other op reads, and every output of the graph, is FIXED.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._parents: list[int] = [FIXED]
        self._ids: dict[Value, Index] = {graph.input: _fixed(graph.input)}
        self._given = {c: _fixed(c) for c in graph.constants}
        readers = graph.consumers()
        for node in graph.nodes:
            self._ids[node.output] = self._passed_on(node, readers)
        for output in graph.outputs:
            self._fix(output)
        self._roots = np.array([self._root(i) for i in range(self.count)], np.int64)

    def classes(self, value: Value) -> Index:
        """The class of each element of a value, [*shape]; -1 for an element that is always 0."""
        ids = self._of(value)
        return np.where(ids < 0, _ZERO, self._roots[ids])

    @property
    def count(self) -> int:
        """The number of ids; every class is below it."""
        return len(self._parents)

    def _of(self, value: Value) -> Index:
        return self._ids[value] if value in self._ids else self._given[value]

    def _passed_on(self, node: Node, readers: Mapping[Value, list[Node]]) -> Index:
        op, inputs = node.op, node.inputs
        match op:
            case Contraction() if _is_scalable(node, self._graph, readers):
                if isinstance(op, Conv2d):
                    self._channels(inputs[0])
                return self._made(node.output)
            case Mask():
                return self._of(inputs[0])
            case Rearrangement():
                return _moved(op, self._of(inputs[0]), node.output.type.shape)
            case Concat(axis):
                return np.concatenate([self._of(v) for v in inputs], axis)
            case MaxPool2d() | AveragePool2d():
                return _over(self._channels(inputs[0]), node.output)
            case MaxUnpool():
                self._channels(inputs[1])  # elements of a window are compared with each other
                return _over(self._channels(inputs[0]), node.output)
            case Add():
                return self._united(*(self._of(v) for v in inputs))
            case _ if _is_homogeneous(op):
                return self._of(inputs[0])
        for value in inputs:
            self._fix(value)
        return _fixed(node.output)

    def _made(self, output: Value) -> Index:
        first = len(self._parents)
        new = range(first, first + output.type.shape[0])
        self._parents.extend(new)
        return _over(np.array(new, np.int64), output)

    def _channels(self, value: Value) -> Index:
        """One id a channel of [C, H, W], whose positions are united: [C]."""
        rows = self._of(value).reshape(value.type.shape[0], -1)
        most = channels_of(rows)
        for row, top in zip(rows, most, strict=True):
            for other in np.unique(row[(row != top) & (row >= 0)]):
                self._unite(int(top), int(other))
        return most

    def _united(self, a: Index, b: Index) -> Index:
        both = (a >= 0) & (b >= 0) & (a != b)
        for pair in np.unique(np.stack([a[both], b[both]], axis=1), axis=0):
            self._unite(int(pair[0]), int(pair[1]))
        return np.maximum(a, b)

    def _fix(self, value: Value) -> None:
        ids = self._of(value)
        for each in np.unique(ids[ids > 0]):
            self._unite(FIXED, int(each))

    def _unite(self, a: int, b: int) -> None:
        low, high = sorted((self._root(a), self._root(b)))
        self._parents[high] = low

    def _root(self, each: int) -> int:
        while (parent := self._parents[each]) != each:
            self._parents[each] = self._parents[parent]
            each = self._parents[each]
        return each


def _is_scalable(layer: Node, graph: Graph, readers: Mapping[Value, list[Node]]) -> bool:
    """Whether weight and bias are constants that nothing else reads."""
    return all(p in graph.constants and readers[p] == [layer] for p in layer.inputs[1:])


def channels_of(classes: Index) -> Index:
    """The class of each channel (axis 0) whose elements have one class or are always 0: [C]."""
    most: Index = classes.reshape(len(classes), -1).max(axis=1)
    return most


def _is_homogeneous(op: Op) -> bool:
    """Whether f(s*x) = s*f(x) for every s > 0."""
    match op:
        case Clamp(low, high):
            return {low, high} <= {0.0, None}
        case Unary(Function.LEAKY_RELU | Function.ABS):
            return True
    return False


def _moved(op: Rearrangement, ids: Index, shape: tuple[int, ...]) -> Index:
    if not isinstance(op, Move):
        return ids.reshape(shape)
    source = op.source_of(ids.shape)
    return np.where(source < 0, _ZERO, ids.reshape(-1)[source])


def _over(channels: Index, value: Value) -> Index:
    """The channel's id at every position."""
    shape = value.type.shape
    return np.broadcast_to(channels.reshape(-1, *[1] * (len(shape) - 1)), shape)


def _fixed(value: Value) -> Index:
    return np.broadcast_to(np.int64(FIXED), value.type.shape)
