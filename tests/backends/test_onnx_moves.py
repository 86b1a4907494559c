"""Moves, tables and products of values with a zero point, whatever they vary with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Concat,
    Dequantize,
    Gather,
    InsertZeros,
    KeepMask,
    Lookup,
    LookupReal,
    MultiplyInteger,
    Op,
    Pad,
    QuantizeInput,
    Select,
    Slice,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support.errors import Loc
from tests.backends.equality import artefact, assert_equal, assert_values_equal

SHAPE = (2, 3, 4)
QUANT = activation_quant(-1.0, 1.5, 7)
MOVES: Sequence[Op] = (
    Transpose((2, 0, 1)),
    Slice(2, -3, 99, 2),
    Slice(0, 1, 2),
    Pad((1, 0, 2, 3)),
    InsertZeros((2, 3)),
    UpsampleNearest((3, 2)),
    Gather(2, (3, 0, 0, 1, 2)),
    Gather(0, (1, 0)),
)


class Net:
    """Codes `row`, `sample` and `both` with a zero point of 51, called after their axes."""

    def __init__(self) -> None:
        self.build, self.streams = Builder(), 0
        x = self.build.input("input", TensorType(DType.F32, SHAPE, PER_ROW))
        op = QuantizeInput((0.0,), QUANT.scale, QUANT, 0, QUANT.high)
        codes = np.random.default_rng(0).integers(0, 128, SHAPE).astype(np.uint8)
        row, constant = self.emit(op, x, name="row"), self.build.constant("constant", codes, QUANT)
        self.values = {
            "row": row,
            "constant": constant,
            "sample": self.masked(constant, "sample", shared=True),
            "both": self.masked(row, "both", shared=False),
        }

    def masked(self, x: Value, name: str, *, shared: bool) -> Value:
        keep = self.emit(KeepMask(SHAPE, 0.4, self.streams, shared), name=f"{name}.keep")
        self.streams += 1
        return self.emit(Select(), x, keep, name=name)

    def emit(self, op: Op, *inputs: Value, name: str) -> Value:
        return self.build.emit(op, *inputs, loc=Loc(name, "net.py:1"), name=name)

    def check(self, *outputs: Value) -> None:
        """Every value is the oracle's, for one row and as many as samples; no rows give none."""
        real = [
            v if v.type.dtype is DType.F32 else self.emit(Dequantize(), v, name=f"out{i}")
            for i, v in enumerate((*outputs, self.values["both"]))
        ]
        model = Model((self.build.graph(tuple(real), Stage.INTEGER),), Head(Task.RAW), 3)
        model.check()
        empty = artefact(model).predict(np.empty((0, *SHAPE), np.float32))
        assert {empty[f"samples_{i}"].shape[:2] for i in range(len(real))} == {(3, 0)}
        for rows in (1, 3):
            assert_equal(model, rows)
            traced = assert_values_equal(model, rows)
            assert {v.name for v in outputs} <= traced.keys()


@pytest.mark.parametrize("kind", ["row", "sample", "both"])
def test_moves(kind: str) -> None:
    """On codes, and on real numbers, where what is new is zero."""
    net = Net()
    x = net.values[kind]
    table = net.build.constant("table", np.linspace(1, 2, 128).astype(np.float32))
    real = net.emit(LookupReal(), x, table, name="real")
    made = [net.emit(op, x, name=f"codes{i}") for i, op in enumerate(MOVES)]
    net.check(*made, *(net.emit(op, real, name=f"real{i}") for i, op in enumerate(MOVES)))


@pytest.mark.few(3)
@pytest.mark.parametrize("first", ["row", "sample", "both"])
@pytest.mark.parametrize("second", ["constant", "row", "sample", "both"])
def test_two_values_meet(first: str, second: str) -> None:
    """Joined on every axis, and multiplied, either way round and with one number a channel."""
    net = Net()
    a, b = net.values[first], net.values[second]
    joined = [net.emit(Concat(axis), b, a, b, name=f"joined{axis}") for axis in range(3)]
    channel = net.emit(Slice(2, 1, 2), a, name="channel")
    products = [
        net.emit(MultiplyInteger(), *pair, name=f"product{i}")
        for i, pair in enumerate(((a, b), (b, a), (channel, b), (b, channel)))
    ]
    net.check(*joined, *products)


@pytest.mark.parametrize("kind", ["row", "sample", "both"])
def test_tables(kind: str) -> None:
    net, rng = Net(), np.random.default_rng(1)
    codes = net.build.constant("codes", rng.integers(0, 256, 128).astype(np.uint8))
    reals = net.build.constant("reals", rng.normal(size=128).astype(np.float32))
    quant, x = activation_quant(-3.0, 1.0, 8), net.values[kind]
    net.check(
        net.emit(Lookup(quant), x, codes, name="f"), net.emit(LookupReal(), x, reals, name="g")
    )
