"""Masks of weights that layers draw on the way: the lane of each weight, by strides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops.base import Tensor
from qbnnc.ir.ops.dropout import KeepMask, Select
from qbnnc.ir.ops.shape import Rearrangement
from qbnnc.ir.types import DType

Strides = tuple[int, int, int, int]  # of an output, an input, a row and a column of the kernel


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes of a mask over a weight [N, C, kh, kw]: start + the sum of index * stride."""

    op: KeepMask
    start: int
    strides: Strides

    @property
    def size(self) -> int:
        """The lanes of a row."""
        return prod(self.op.shape)


def drawn_by_layers(graph: Graph) -> tuple[dict[Node, Lanes], set[Node]]:
    """The weights whose masks layers draw, and the nodes of masks that nothing else needs."""
    producers, readers = graph.producers(), graph.consumers()
    drawn = dict[Node, Lanes]()
    for node in graph.nodes:
        if isinstance(node.op, Select) and node.output.type.dtype is DType.I8:
            lanes = lanes_of(node, producers)
            if lanes is not None:
                drawn[node] = lanes
    unneeded = set[Node]()
    for node in reversed(graph.nodes):
        if not isinstance(node.op, KeepMask | Rearrangement) or node.output in graph.outputs:
            continue
        known = readers.get(node.output, [])
        if known and all(reader in drawn or reader in unneeded for reader in known):
            unneeded.add(node)
    return drawn, unneeded


def lanes_of(select: Node, producers: Mapping[Value, Node]) -> Lanes | None:
    """The lanes of a weight's mask; None if they have no strides, or the mask gets zeros."""
    weight, mask = select.inputs
    moves = list[Node]()
    node = producers.get(mask)
    while node is not None and isinstance(node.op, Rearrangement) and not node.op.adds_zeros:
        moves.append(node)
        node = producers.get(node.inputs[0])
    if node is None or not isinstance(node.op, KeepMask):
        return None
    numbers = np.arange(prod(node.op.shape), dtype=np.int64).reshape(1, 1, *node.op.shape)
    for move in reversed(moves):
        assert isinstance(move.op, Rearrangement)
        numbers = move.op.evaluate(Tensor(numbers, move.inputs[0].type))
    found = strided(np.broadcast_to(numbers[0, 0], weight.type.shape))
    return None if found is None else Lanes(node.op, *found)


def strided(numbers: NDArray[np.int64]) -> tuple[int, Strides] | None:
    """Return (start, strides) of numbers [N, C] or [N, C, kh, kw], or None if there are none."""
    whole = numbers.reshape(*numbers.shape, *[1] * (4 - numbers.ndim))
    start = int(whole[0, 0, 0, 0])
    second = np.eye(4, dtype=np.int64)
    n, c, i, j = (
        int(whole[tuple(second[axis])]) - start if size > 1 else 0
        for axis, size in enumerate(whole.shape)
    )
    outputs, inputs, rows, columns = np.ix_(*map(np.arange, whole.shape))
    expected = start + n * outputs + c * inputs + i * rows + j * columns
    return (start, (n, c, i, j)) if np.array_equal(expected, whole) else None
