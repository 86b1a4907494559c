"""Tables of exponentials, and biases in whole steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import ScaledSoftmax
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, TensorType
from qbnnc.passes.integer.exponentials import exponentials, softmax_constants
from qbnnc.support.errors import CompileError, Loc

LN2 = float(np.log(2))


def made(
    dtype: DType, scale: float, *constants: Array, factor: float = 1.0, length: int = 3
) -> tuple[float, Array, list[Array]]:
    quant = QuantParams((scale,), (0,), 0, 3 if dtype is DType.U8 else 2**31 - 1)
    x = Value("x", TensorType(dtype, (length,), PER_ROW, quant))
    return softmax_constants(Node(ScaledSoftmax(factor), (x,), x, Loc("layer")), x, constants)


def test_powers_of_two() -> None:
    assert exponentials(LN2, 5).tolist() == [65536, 32768, 16384, 8192, 4096]


def test_a_table_ends_with_its_first_zero() -> None:
    """2^-17 of 2^16 is a half, and a little less rounds to 0."""
    table = exponentials(LN2 * 1.001, 100)
    assert len(table) == 18
    assert table[-2:].tolist() == [1, 0]
    assert len(exponentials(1 / 128, 5000)) == 1510  # 128*17*ln 2 = 1508.2


def test_codes_have_an_entry_for_each_distance() -> None:
    multiplier, table, _ = made(DType.U8, LN2 / 2, factor=2.0)
    assert (multiplier, table.tolist()) == (1.0, [65536, 32768, 16384, 8192])


def test_a_bias_of_codes_lengthens_the_table() -> None:
    bias = np.array([-1.0, 0, 0.4], np.float32)
    _, table, (steps,) = made(DType.U8, 0.5, bias)
    assert steps.tolist() == [-2, 0, 1]
    assert steps.dtype == np.int32
    assert len(table) == 4 + 3


def test_accumulators_go_in_steps_of_128ths() -> None:
    multiplier, table, (mask,) = made(DType.I32, 2**-10, np.array([1, 0, 1], np.uint8), factor=0.5)
    assert multiplier == 2**-4
    assert table[128] == round(65536 / math.e)
    assert mask.tolist() == [1, 0, 1]


def test_a_bias_that_int32_does_not_hold_is_refused() -> None:
    bias = np.array([0, 0, -900.0], np.float32)
    assert made(DType.I32, 2**-20, bias)[2][0].tolist() == [0, 0, -900 * 2**20]
    with pytest.raises(CompileError, match=r"^layer: .*reaches 900, and their step is"):
        made(DType.I32, 2**-21, bias)


def test_the_longest_row() -> None:
    made(DType.U8, 0.5, length=32767)
    with pytest.raises(CompileError, match=r"a softmax over 32768 elements"):
        made(DType.U8, 0.5, length=32768)
