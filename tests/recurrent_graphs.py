"""FLOAT graphs of recurrent layers by hand: one weight, read by every step."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops import Add, Concat, Function, Linear, Multiply, Reshape, Slice, Unary
from tests.net import Net

FEATURES, UNITS = 3, 6


class Recurrent(Net):
    """h' = tanh(W [x, h] + b) and m' = m * h' + h', over the steps of a sequence.

    `drop` puts a dropout of its own on each step's state.
    """

    def steps(self, *, drop: float = 0.0) -> Graph:
        """The graph that gives W2 m of the last step."""
        x, rng = self.value, np.random.default_rng(4)
        weight = self.build.constant("w", rng.normal(0, 0.5, (UNITS, FEATURES + UNITS)).astype("f"))
        bias = self.build.constant("b", rng.normal(0, 0.3, UNITS).astype("f"))
        state = self.value_of(Slice(0, 0, 1, 1), x, name="first")
        state = self.value_of(Reshape((FEATURES,)), state, name="first.row")
        state = self.linear_of(state, UNITS, "start")
        memory = state
        for number in range(1, self.shape[0]):
            now = self.value_of(Slice(0, number, number + 1, 1), x, name="x")
            now = self.value_of(Reshape((FEATURES,)), now, name="x.row")
            joined = self.value_of(Concat(0), now, state, name="joined")
            total = self.value_of(Linear(), joined, weight, bias, name="total")
            state = self.value_of(Unary(Function.TANH), total, name="state")
            if drop:
                self.value = state
                state = self.dropout(drop, "drop").value
            kept = self.value_of(Multiply(), memory, state, name="kept")
            memory = self.value_of(Add(), kept, state, name="memory")
        self.value = memory
        return self.linear(2, "last").graph()

    def value_of(self, op: object, *inputs: Value, name: str) -> Value:
        """Emit one node."""
        self.value = inputs[0]
        return self.emit(op, *inputs[1:], name=name).value  # type: ignore[arg-type]  # any op

    def linear_of(self, x: Value, features: int, name: str) -> Value:
        self.value = x
        return self.linear(features, name).value


class Gated(Recurrent):
    """s' = g * s + g * tanh(g), with gates g = sigmoid(W [x, s] + b): a state that is carried."""

    def steps(self, *, drop: float = 0.0) -> Graph:
        """The graph that gives W2 s of the last step, and s itself."""
        x, rng = self.value, np.random.default_rng(5)
        weight = self.build.constant("w", rng.normal(0, 0.5, (UNITS, FEATURES + UNITS)).astype("f"))
        bias = self.build.constant("b", rng.normal(0, 0.3, UNITS).astype("f"))
        first = self.value_of(Slice(0, 0, 1, 1), x, name="first")
        state = self.linear_of(self.value_of(Reshape((FEATURES,)), first, name="row"), UNITS, "s")
        for number in range(self.shape[0]):
            now = self.value_of(Slice(0, number, number + 1, 1), x, name="x")
            now = self.value_of(Reshape((FEATURES,)), now, name="x.row")
            joined = self.value_of(Concat(0), now, state, name="joined")
            total = self.value_of(Linear(), joined, weight, bias, name="total")
            gate = self.value_of(Unary(Function.SIGMOID), total, name="gate")
            new = self.value_of(Unary(Function.TANH), gate, name="new")
            kept = self.value_of(Multiply(), gate, state, name="kept")
            added = self.value_of(Multiply(), gate, new, name="added")
            state = self.value_of(Add(), kept, added, name="state")
        self.value = state
        return self.graph(self.linear_of(state, 2, "last"), state)


def gated(steps: int = 4) -> Graph:
    """A gated layer over [steps, FEATURES], and the state that leaves it."""
    return Gated((steps, FEATURES)).steps()


def recurrent(steps: int, *, drop: float = 0.0) -> Graph:
    """A recurrent layer over [steps, FEATURES]."""
    return Recurrent((steps, FEATURES)).steps(drop=drop)
