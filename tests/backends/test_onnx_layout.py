"""Values that vary with nothing, the row, the sample or both, meeting each other."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import AddQuantized, Dequantize, KeepMask, Op, QuantizeInput, Select
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support.errors import Loc
from tests.strategies import input_batch

SHAPE = (2, 3, 4)


def meetings() -> Model:
    """Outputs: constant + row, (constant under a shared mask) + row, row, and under two masks."""
    build, loc = Builder(), Loc("net", "net.py:1")
    quant, sum_quant = activation_quant(-1.0, 1.5, 7), activation_quant(-2.0, 3.0, 7)

    def made(op: Op, *inputs: Value, name: str) -> Value:
        return build.emit(op, *inputs, loc=loc, name=name)

    x = build.input("input", TensorType(DType.F32, SHAPE, PER_ROW))
    row = made(QuantizeInput((0.0,), quant.scale, quant, 0, 127), x, name="row")
    codes = np.random.default_rng(0).integers(0, 128, SHAPE).astype(np.uint8)
    constant = build.constant("constant", codes, quant)
    shared = made(KeepMask(SHAPE, 0.5, 0, shared=True), name="shared")
    own = made(KeepMask(SHAPE, 0.5, 1), name="own")
    sample = made(Select(), constant, shared, name="sample")
    add = AddQuantized(sum_quant, 0, 127)
    outputs = (
        made(add, row, constant, name="row+constant"),
        made(add, sample, row, name="sample+row"),
        row,
        made(Select(), made(Select(), row, own, name="once"), shared, name="twice"),
        sample,
    )
    real = tuple(made(Dequantize(), v, name=f"out{i}") for i, v in enumerate(outputs))
    model = Model((build.graph(real, Stage.INTEGER),), Head(Task.RAW), 3)
    model.check()
    return model


@pytest.mark.parametrize("rows", [0, 1, 2, 3])  # 3 is the number of samples, too
def test_every_layout_meets_every_other(rows: int) -> None:
    model = meetings()
    x = input_batch(model, rows)
    found = OnnxArtefact.from_bytes(emit(model)).predict(x, seed=5, first_row=9)
    expected = oracle_samples(model, x, samples=3, seed=5, first_row=9)
    for number, array in enumerate(expected):
        made = found[f"samples_{number}"]
        assert made.shape == array.shape
        assert np.array_equal(made.view(np.uint32), array.view(np.uint32)), number


def test_values_have_one_where_they_do_not_vary() -> None:
    model = meetings()
    traced = OnnxArtefact.from_bytes(emit(model)).trace(input_batch(model, 3))
    leading = {name: array.shape[:2] for name, array in traced.items()}
    assert (leading["row"], leading["sample"]) == ((1, 3), (3, 1))
    assert (leading["once"], leading["sample+row"]) == ((3, 3), (3, 3))
