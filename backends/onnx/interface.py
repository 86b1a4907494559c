"""The inputs of an ONNX file, and their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.names import FIRST_ROW, ROW_IDS, SEED, input_names
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ids import holds_only_ids
from qbnnc.ir.inputs import input_values
from qbnnc.ir.model import Model


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of a file.

    They are f32 [batch, *shape], or i64 for ids alone. `seed` and `rows` are i64. `x` is `input`
    alone, or several by the user's names. `rows` is `first_row`, a scalar, or `row_ids` [batch].
    """

    x: tuple[onnx_ir.Value, ...]
    seed: onnx_ir.Value
    rows: onnx_ir.Value

    @property
    def every(self) -> tuple[onnx_ir.Value, ...]:
        """The inputs in the order in which a file has them."""
        return *self.x, self.seed, self.rows

    def by_value(self, graph: Graph) -> dict[Value, onnx_ir.Value]:
        """The inputs by the values of a member that hold them."""
        return dict(zip(input_values(graph), self.x, strict=True))

    @property
    def defaults(self) -> list[onnx_ir.Value]:
        """The inputs that a caller may leave out, which have initialisers of the same names."""
        return [value for value in self.every if value.const_value is not None]


def inputs_of(
    model: Model, batch: int | None, *, row_ids: bool, default_seed: int | None
) -> Inputs:
    """The inputs of a file: always all of them, so that every file is called alike.

    With a `default_seed` the seed may be left out, and so may `first_row`, which is then 0.
    """
    rows = batch or "batch"
    numbers = _whole(ROW_IDS, [rows]) if row_ids else _whole(FIRST_ROW, [])
    elements = onnx_ir.DataType.INT64 if holds_only_ids(model.graph) else onnx_ir.DataType.FLOAT
    x = (
        onnx_ir.val(name, elements, [rows, *entry.shape])
        for name, entry in zip(input_names(model), model.inputs, strict=True)
    )
    inputs = Inputs(tuple(x), _whole(SEED, []), numbers)
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
