"""Rows of tables, by ids of the input: Gather (docs/semantics.md, section 4)."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope, Write
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ids import Index, ids_within
from qbnnc.ir.ops import EmbeddingCodes, Op
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()

_INT64 = int(onnx_ir.DataType.INT64)


@WRITERS.of(EmbeddingCodes)
def embed(scope: Scope, node: Node, op: EmbeddingCodes) -> None:
    """table[ids]. The ids are gathered from the input at once, however the graph moves them."""
    writer, (ids, table), name = scope.writer, node.inputs, scope.name(node.output)
    (entry, source), width = ids_within(scope.graph, ids), node.output.type.shape[-1]
    numbers = _cut(scope, _taken(scope, entry, source, name), table.type.shape[0], name)
    rows = writer.op("Gather", scope.stored(table), numbers, out=f"{name}/rows", axis=0)
    shape = writer.ints(-1, *ids.type.shape, width)
    writer.op("Reshape", rows, shape, out=scope.result(node.output))


def _taken(scope: Scope, entry: Value, source: Index, name: str) -> onnx_ir.Value:
    """The numbers of an input at these places, [B, places]; -1 is a new zero."""
    writer = scope.writer
    size, places = entry.type.size, source.reshape(-1)
    flat = scope.stored(entry)
    if len(entry.type.shape) != 1:
        flat = writer.op("Reshape", flat, writer.ints(-1, size), out=f"{name}/row")
    if (places < 0).any():
        zero = writer.constant(np.array(0, np.int64 if scope.takes_ids else np.float32))
        flat = writer.op("Pad", flat, writer.ints(0, 0, 0, 1), zero, out=f"{name}/padded")
        places = np.where(places < 0, size, places)
    if np.array_equal(places, np.arange(size)):
        return flat
    return writer.op("Gather", flat, writer.ints(*places), out=f"{name}/ids", axis=1)


def _cut(scope: Scope, numbers: onnx_ir.Value, rows: int, name: str) -> onnx_ir.Value:
    """The numbers as ids 0..rows - 1, whatever they are."""
    writer = scope.writer
    if not scope.takes_ids:
        ends = (writer.constant(np.array(n, np.float32)) for n in (0, rows - 1))
        cut = writer.op("Clip", numbers, *ends, out=f"{name}/cut")
        numbers = writer.op("Cast", cut, out=f"{name}/whole", to=_INT64)
    ends = (writer.constant(np.array(n, np.int64)) for n in (0, rows - 1))
    return writer.op("Clip", numbers, *ends, out=f"{name}/row_numbers")
