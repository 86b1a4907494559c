"""The inputs of an ONNX file, and their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.names import FIRST_ROW, INPUT, ROW_IDS, SEED
from qbnnc.ir.graph import Graph
from qbnnc.ir.ids import holds_only_ids


@dataclass(frozen=True, slots=True)
class Inputs:
    """`input` [batch, *shape], f32, or i64 for ids; `seed` i64; the numbers of the rows, i64.

    `rows` is `first_row`, a scalar, or `row_ids` [batch].
    """

    x: onnx_ir.Value
    seed: onnx_ir.Value
    rows: onnx_ir.Value

    @property
    def every(self) -> tuple[onnx_ir.Value, ...]:
        """All three, in the order in which a file has them."""
        return self.x, self.seed, self.rows

    @property
    def defaults(self) -> list[onnx_ir.Value]:
        """The inputs that a caller may leave out, which have initialisers of the same names."""
        return [value for value in self.every if value.const_value is not None]


def inputs_of(
    graph: Graph, batch: int | None, *, row_ids: bool, default_seed: int | None
) -> Inputs:
    """The inputs of a file: always all three, so that every file is called alike.

    With a `default_seed` the seed may be left out, and so may `first_row`, which is then 0.
    """
    rows = batch or "batch"
    numbers = _whole(ROW_IDS, [rows]) if row_ids else _whole(FIRST_ROW, [])
    elements = onnx_ir.DataType.INT64 if holds_only_ids(graph) else onnx_ir.DataType.FLOAT
    x = onnx_ir.val(INPUT, elements, [rows, *graph.input.type.shape])
    inputs = Inputs(x, _whole(SEED, []), numbers)
    if default_seed is not None:
        _set_default(inputs.seed, default_seed)
        if not row_ids:
            _set_default(inputs.rows, 0)
    return inputs


def _whole(name: str, shape: Sequence[int | str]) -> onnx_ir.Value:
    return onnx_ir.val(name, onnx_ir.DataType.INT64, shape)


def _set_default(value: onnx_ir.Value, number: int) -> None:
    """Give a scalar a default, mod 2^64 as its two's complement."""
    stored = np.array(number % 2**64, np.uint64).view(np.int64)
    value.const_value = onnx_ir.tensor(stored, name=value.name)
