"""Every value of a graph, read out of an arena that reuses no space. `qbnnc verify` uses it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Reshape
from qbnnc.ir.types import Array, Axes, Axis, DType, TensorType
from qbnnc.runtime.cache import Execute
from qbnnc.runtime.jobs import job
from qbnnc.runtime.kernels.records import Block
from qbnnc.runtime.layout import from_memory
from qbnnc.runtime.outputs import Outputs, complete
from qbnnc.runtime.plan import Plan, Stored, new_arena, plan
from qbnnc.runtime.program import Place, phase_of
from qbnnc.runtime.schedule import blocks, schedule


def recorded(
    execute: Execute,
    model: Model,
    member: int,
    batch: NDArray[np.float32],
    draws: int,
    numbers: tuple[int, int],
) -> dict[str, Array]:
    """Run one member, `draws` samples of it, and return every value by its name in the IR.

    `numbers` are the seed and the number of the first row, mod 2^64.
    """
    graph, members = model.members[member], len(model.members)
    kept, chunk = plan(graph, draws=model.draws, reuse=False), max(1, len(batch))
    arena, outputs = new_arena(kept, chunk), Outputs(kept, len(batch), draws * members)
    out, recorder = outputs.allocate(), Recorder(kept, len(batch), draws, arena)
    every = kept, range(len(batch)), range(draws), chunk
    table, size = schedule(*every), (member, members, len(batch), draws * members)
    for i, block in enumerate(blocks(*every)):
        row = np.array([job(kept, table[i : i + 1], *size)], np.int64)
        execute(row, *numbers, batch.ravel(), arena, out)
        recorder(block)
    made = outputs.split(out)
    complete(kept, made, batch, member, members)
    mine = tuple(output[member::members] for output in made)
    return recorder.values | real_values(graph, mine)


class Recorder:
    """An observer of an execution: `values` are [L|1, B|1, *shape] by name, in their dtypes."""

    def __init__(self, plan: Plan, batch: int, draws: int, arena: NDArray[np.uint8]) -> None:
        self._plan, self._arena, self.values = plan, arena, dict[str, Array]()
        counts = {Axis.SAMPLE: draws, Axis.ROW: batch}
        for name, stored in plan.values.items():
            type_ = stored.type
            self.values[name] = np.empty(whole_shape(type_, counts), type_.dtype.numpy)

    def __call__(self, block: Block) -> None:
        """Read the values that a block has made."""
        for name, stored in self._plan.values.items():
            if phase_of(stored.type.axes) is block.phase:
                rows, samples = _index(stored.type.axes, block)
                self.values[name][samples, rows] = self._read(stored, block)

    def _read(self, stored: Stored, block: Block) -> Array:
        """Return a value of a block: [samples|1, rows|1, *shape]."""
        type_, layout, operand = stored.type, stored.layout, self._plan.arena.locate(stored.buffer)
        samples = block.samples if Axis.SAMPLE in type_.axes else 1
        rows = block.rows if Axis.ROW in type_.axes else 1
        first = block.first_row if operand.place is Place.ROW else 0
        starts = (operand.offset + (first + i) * operand.stride for i in range(samples * rows))
        size = type_.size if layout is None else layout.size
        nbytes = size * type_.dtype.numpy.itemsize
        lines = np.stack([self._arena[start : start + nbytes] for start in starts])
        codes = lines.view(type_.dtype.numpy).reshape(samples, rows, size)
        if layout is not None:
            return codes[..., layout.order()].reshape(samples, rows, *type_.shape)
        return from_memory(codes, type_.shape)


def _index(axes: Axes, block: Block) -> tuple[slice, slice]:
    """Return the rows and the samples of a block, among all of them."""
    first = block.start + block.first_row
    rows = slice(first, first + block.rows) if Axis.ROW in axes else slice(0, 1)
    samples = slice(block.first_sample, block.first_sample + block.samples)
    return rows, samples if Axis.SAMPLE in axes else slice(0, 1)


def whole_shape(type_: TensorType, counts: dict[Axis, int]) -> tuple[int, ...]:
    """Return [L|1, B|1, *shape], with the counts of the axes that a value varies along."""
    lead = (counts[a] if a in type_.axes else 1 for a in (Axis.SAMPLE, Axis.ROW))
    return *lead, *type_.shape


def real_values(graph: Graph, outputs: tuple[Array, ...]) -> dict[str, Array]:
    """Return the float32 values of one member by name: outputs, perhaps of another shape."""
    producers, values = graph.producers(), dict[str, Array]()
    for value, mine in zip(graph.outputs, outputs, strict=True):
        counts = {Axis.SAMPLE: mine.shape[0], Axis.ROW: mine.shape[1]}
        node = producers.get(value)
        while node is not None and node.output.type.dtype is DType.F32:
            shape = whole_shape(node.output.type, counts)
            values[node.output.name] = mine[: shape[0], : shape[1]].reshape(shape)
            node = producers.get(node.inputs[0]) if isinstance(node.op, Reshape) else None
    return values
