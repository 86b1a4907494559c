"""Two graphs evaluated side by side on the same rows and the same random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.evaluate import evaluate_node, last_uses
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import Op
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array, Axis

_BATCH = 64
_LIVE_BYTES = 1 << 30  # for the values of both graphs together
_FEWEST_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One batch of rows with its random numbers."""

    rows: NDArray[np.float32]
    draw: Draw


def batches_of(
    rows: NDArray[np.float32], seed: int, passes: int, row_bytes: int
) -> tuple[Batch, ...]:
    """All rows in batches, with `passes` samples each; evenly spaced rows if memory is short.

    `row_bytes` is the number of bytes that one row keeps alive. At least 64 rows are taken.
    """
    fitting = max(_FEWEST_ROWS, _LIVE_BYTES // max(1, row_bytes * passes))
    if len(rows) > fitting:
        rows = rows[np.linspace(0, len(rows) - 1, fitting).round().astype(np.int64)]
    starts = range(0, len(rows), _BATCH)
    return tuple(
        Batch(batch := rows[s : s + _BATCH], Draw.of(seed, [draw], range(s, s + len(batch))))
        for draw in range(passes)
        for s in starts
    )


def live_bytes(graph: Graph) -> int:
    """The most bytes of values that one row keeps alive at a time."""
    dies, alive = last_uses(graph), graph.input.type.nbytes
    most = alive
    for node in graph.nodes:
        alive += _row_bytes(node.output)
        most = max(most, alive)
        alive -= sum(_row_bytes(value) for value in dies.get(node, ()))
    return most


def _row_bytes(value: Value) -> int:
    return value.type.nbytes if Axis.ROW in value.type.axes else 0


class ReferenceValues:
    """The values of a graph that is evaluated only as far as they are asked for."""

    def __init__(self, graph: Graph, batches: Sequence[Batch]) -> None:
        self.graph, self.batches = graph, batches
        constants = {value: array[None, None] for value, array in graph.constants.items()}
        self.data = [{graph.input: batch.rows[None], **constants} for batch in batches]
        self.dies, self.done = last_uses(graph), 0

    def values(self, value: Value) -> list[Array]:
        """A value for each batch; one that was asked for or passed over before is gone."""
        while True:
            node = self.graph.nodes[self.done]
            self.done += 1
            for data, batch in zip(self.data, self.batches, strict=True):
                data[node.output] = evaluate_node(node, data, batch.draw)
            found = [data[node.output] for data in self.data]
            for dead in self.dies.get(node, ()):
                for data in self.data:
                    del data[dead]
            if node.output is value:
                return found


class RebuiltValues:
    """The values of a graph that is being rebuilt."""

    def __init__(self, old: Graph, batches: Sequence[Batch]) -> None:
        self.batches = batches
        self.data: list[dict[Value, Array]] = [{} for _ in batches]
        self.now: dict[Value, Value] = {}
        self.dies = {node.output: values for node, values in last_uses(old).items()}

    def enter(self, value: Value, old: Value) -> Value:
        for data, batch in zip(self.data, self.batches, strict=True):
            data[value] = batch.rows[None]
        self.now[old] = value
        return value

    def emit(self, place: Node, op: Op, inputs: tuple[Value, ...], build: Builder) -> Value:
        """Emit an op where `place` was, and evaluate it."""
        value = build.emit(op, *inputs, loc=place.loc, name=place.output.name)
        made = Node(op, inputs, value, place.loc)
        for data, batch in zip(self.data, self.batches, strict=True):
            for source in inputs:
                if source not in data and (array := build.array(source)) is not None:
                    data[source] = array[None, None]
            data[value] = evaluate_node(made, data, batch.draw)
        return value

    def values(self, value: Value) -> list[Array]:
        """A value, [L, B, *shape], for each batch."""
        return [data[value] for data in self.data]

    def taken(self, value: Value) -> list[Array]:
        """A value for each batch, which is dropped: nothing will read it."""
        return [data.pop(value) for data in self.data]

    def replaced(self, old: Value, new: Value) -> None:
        """Let `new` stand for `old` from here on; drop values that nobody reads any more."""
        self.now[old] = new
        for value in self.dies.get(old, ()):
            if Axis.ROW in value.type.axes:
                for data in self.data:
                    data.pop(self.now.get(value, value), None)
