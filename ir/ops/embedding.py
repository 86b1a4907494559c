"""Rows of a table, by ids that the input holds: docs/semantics.md, section 4."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.ops.base import (
    FLOAT_STAGES,
    INTEGER_STAGE,
    DeterministicOp,
    Tensor,
    expect_codes,
    expect_count,
    expect_reals,
)
from qbnnc.ir.types import CONSTANT, Array, DType, TensorType
from qbnnc.support import limits


@dataclass(frozen=True, slots=True)
class Embedding(DeterministicOp):
    """table[ids]: ids f32 [*S] and a constant table f32 [V, D] give f32 [*S, D].

    The ids are numbers of the graph's input that nothing but moves has touched (`ir.ids`).
    """

    stages = FLOAT_STAGES
    since = 4
    has_own_scale = True

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        expect_reals(inputs[1])
        return TensorType(DType.F32, _shape(*inputs), inputs[0].axes)

    def evaluate(self, *inputs: Tensor) -> Array:
        return _taken(*inputs)


@dataclass(frozen=True, slots=True)
class EmbeddingCodes(DeterministicOp):
    """table[ids]: ids f32 [*S] and a constant table u8 [V, D] give codes u8 [*S, D].

    The codes mean what the table's mean. No id leads out of the table (`row_of`).
    """

    stages = INTEGER_STAGE
    since = 4

    def infer(self, *inputs: TensorType) -> TensorType:
        expect_count(inputs, 2)
        expect_codes(inputs[1])
        return TensorType(DType.U8, _shape(*inputs), inputs[0].axes, inputs[1].quant)

    def evaluate(self, *inputs: Tensor) -> Array:
        return _taken(*inputs)


def row_of(ids: Array, rows: int) -> NDArray[np.int64]:
    """The row of a table of `rows` rows that each number stands for, whatever its bits are.

    It is the id cut to 0..rows - 1 and rounded towards zero. NaN is row 0.
    """
    cut = np.where(ids > 0, np.minimum(ids, np.float32(rows - 1)), np.float32(0))
    return cut.astype(np.int64)


def _taken(ids: Tensor, table: Tensor) -> Array:
    rows: Array = table.data[0, 0]
    taken: Array = rows[row_of(ids.data, len(rows))]
    return taken


def _shape(ids: TensorType, table: TensorType) -> tuple[int, ...]:
    if ids.dtype is not DType.F32 or ids.quant is not None or ids.axes == CONSTANT:
        raise ValueError(f"takes ids of the input, not {ids}")
    if table.axes != CONSTANT or len(table.shape) != 2:
        raise ValueError(f"takes a constant table [V, D], not {table}")
    if table.quant is not None and table.quant.axis is not None:
        raise ValueError(f"takes a table of one scale, not {table}")
    limits.VOCABULARY.check(table.shape[0])
    return (*ids.shape, table.shape[1])
