"""Pairs of outputs without names: which second output can be the logarithm of a variance."""

from __future__ import annotations

import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Clamp, Function, Op, Unary
from qbnnc.passes.head.assign_head import with_head
from qbnnc.support.errors import UserError
from tests.net import Net


def pair(op: Op | None) -> Graph:
    """A mean, and another layer's output behind this op."""
    net = Net((4,)).linear(6, "fc").relu("relu")
    hidden = net.value
    mean, net.value = net.linear(1, "mean").value, hidden
    net.linear(1, "second")
    return net.graph(mean, net.value if op is None else net.emit(op, name="op").value)


def read(op: Op | None) -> Model:
    return with_head(Model((pair(op),), Head(Task.RAW)), Task.REGRESSION)


@pytest.mark.parametrize(
    "op",
    [
        Clamp(0.0, None),
        Clamp(0.0, 6.0),
        Clamp(1e-6, None),
        Unary(Function.SOFTPLUS),
        Unary(Function.EXP),
        Unary(Function.SIGMOID),
        Unary(Function.ABS),
    ],
    ids=str,
)
def test_what_is_never_negative_is_no_log_variance(op: Op) -> None:
    with pytest.raises(UserError, match="second output is never negative, so it is hardly the LOG"):
        read(op)


@pytest.mark.parametrize(
    "op",
    [
        None,
        Clamp(-1e-6, None),
        Clamp(-9.0, 9.0),
        Clamp(None, 4.0),
        Unary(Function.TANH),
        Unary(Function.LEAKY_RELU, 0.1),
        Unary(Function.ELU, 1.0),
    ],
    ids=str,
)
def test_what_can_be_negative_is_one(op: Op | None) -> None:
    model = read(op)
    assert model.head.task is Task.REGRESSION
    assert [v.name for v in model.graph.outputs] == ["mean", "second" if op is None else "op"]
