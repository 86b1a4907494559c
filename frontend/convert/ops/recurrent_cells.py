"""The cells of recurrent layers: what one step computes from x_t and the states before it.

A state that is None is zeros, and the step is computed without it. So the first step of a layer
reads x_t alone. What a state of constants adds to the gates is part of their bias. The gates of an
LSTM are one layer over [x_t, h], joined: one accumulator adds both, and is rounded once. The gates
of a GRU are a layer over x_t plus one over h. A joined input has one scale for both, and a GRU,
whose state passes its gates unchanged, suffers from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ops.affine import ONE, ZERO, affine_by
from qbnnc.frontend.convert.ops.linear import dense
from qbnnc.frontend.convert.ops.recurrent_parameters import (
    Parameters,
    computed,
    known,
    shape_of,
)
from qbnnc.frontend.convert.ops.shapes import step
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Noise
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Add, Clamp, Concat, Function, Multiply, Op, Slice, Unary
from qbnnc.support.errors import CompileError

State: TypeAlias = "Value | Tensor | None"  # [H]: computed, constants, or zeros
States: TypeAlias = "tuple[State, ...]"  # h, and c of an LSTM


class Cell(Protocol):
    """One step of a recurrent layer."""

    def step(self, x: Value, states: States) -> tuple[Value, ...]:
        """The states [H] after the step, from x [F] and the states before it.

        All may have the same axes before these, which run through the steps side by side.
        """


def _joined(call: Call, given: Parameters) -> Weight:
    """The weight of [x, h]; CompileError if its two parts are no one weight."""
    joined = {"tensors": [given.w_ih, given.w_hh], "dim": 1}
    try:
        return known(call, computed(call, torch.ops.aten.cat.default, joined), "weight")
    except CompileError:
        for alone in (given.w_ih, given.w_hh):
            known(call, alone, "weight")  # has a reason of its own, if it is none
        call.fail(
            "has a random mask on one of its two weights, which are one layer here",
            "write the steps as a loop, in which each weight has a layer of its own: "
            "F.linear(x[:, t], w_ih) + F.linear(h, w_hh)",
        )


class Gates:
    """Layers over [x, h] of one call, with rows of its parameters as their weights."""

    def __init__(self, call: Call, given: Parameters, count: int) -> None:
        self.call, self._given = call, given
        aten = torch.ops.aten
        self._weight = _joined(call, given)
        biases = [known(call, b, "bias") for b in (given.b_ih, given.b_hh) if b is not None]
        if len(biases) == 2:
            added: dict[str, object] = {"self": given.b_ih, "other": given.b_hh}
            biases.append(known(call, computed(call, aten.add.Tensor, added), "bias"))
        self._of_x, self._of_h, self._of_both = biases[:1], biases[1:2], biases[2:]
        self.hidden = self._weight.shape[0] // count
        self._features = self._weight.shape[1] - int(shape_of(given.w_hh)[-1])
        self._taken: dict[tuple[str, tuple[int, ...]], tuple[Weight, Weight | None]] = {}

    def layer(self, name: str, x: Value, h: State, gates: Sequence[int]) -> Value:
        """The gates of these numbers [len(gates)*H], of x and h; without h it is zeros."""
        if not isinstance(h, Value):
            return self._linear(name, x, *self._parameters("first", gates, h))
        joined = step(self.call, "joined", Concat(_last_axis(x)), x, h)
        return self._linear(name, joined, *self._parameters("both", gates))

    def summed(self, name: str, x: Value, h: State, gates: Sequence[int]) -> Value:
        """The same as `layer`, as the sum of a layer over x and one over h."""
        if not isinstance(h, Value):
            return self.layer(name, x, h, gates)
        parts = (self.of_x(f"{name}_x", x, gates), self.of_h(f"{name}_h", h, gates))
        return self.emit(name, Add(), *parts)

    def of_x(self, name: str, x: Value, gates: Sequence[int]) -> Value:
        """What x alone adds to the gates, with its own bias."""
        return self._linear(name, x, *self._parameters("x", gates))

    def of_h(self, name: str, h: Value, gates: Sequence[int]) -> Value:
        """What h alone adds to the gates, with its own bias."""
        return self._linear(name, h, *self._parameters("h", gates))

    def constant_of_h(self, gate: int, h: Tensor | None) -> Tensor:
        """What a state of constants, or of zeros, and its bias add to a gate: [H]."""
        weight, bias = self._parameters("h", (gate,))
        used = [bias, weight if h is not None else None]
        if any(each is not None and each.is_random for each in used):
            self.call.fail(
                "has a random weight or bias beside its first state, which is constant",
                "leave out the bias of the hidden state (bias_hh), or compute the state from x",
            )
        total = torch.zeros(self.hidden) if bias is None else bias.mu
        return total if h is None else total + weight.mu @ h

    def projected(self, hidden: Value) -> Value:
        """h [P] of an LSTM whose states are projected; else as it is."""
        if self._given.w_hr is None:
            return hidden
        weight = known(self.call, self._given.w_hr, "weight")
        return self._linear("projected", hidden, weight, None)

    def scaled(self, name: str, gate: Value, factor: Tensor) -> Value:
        """A gate times constants."""
        return affine_by(self.call, gate, factor, ZERO, f"{self.call.place().name}.{name}")

    def _with(self, h: Tensor) -> Weight:
        """The bias with what a state of constants adds to it."""
        aten = torch.ops.aten
        if isinstance(self._given.w_hh, Noise):
            self.call.fail(
                "starts from states that are constants other than zeros, and the weights that read "
                "them are random",
                "start from zeros, or from states that are computed from the input",
            )
        terms = computed(self.call, aten.mul.Tensor, {"self": self._given.w_hh, "other": h})
        product = computed(self.call, aten.sum.dim_IntList, {"self": terms, "dim": [1]})
        for each in (self._given.b_ih, self._given.b_hh):
            if each is not None:
                product = computed(self.call, aten.add.Tensor, {"self": product, "other": each})
        return known(self.call, product, "bias")

    def _parameters(
        self, what: str, gates: Sequence[int], h: Tensor | None = None
    ) -> tuple[Weight, Weight | None]:
        """The weight and the bias of some gates; the same for each step."""
        if h is not None:
            (weight, _), rows = self._parameters(what, gates), self._rows(gates)
            return weight, self._with(h).moved(lambda t: t[rows])
        key = (what, tuple(gates))
        if key not in self._taken:
            rows = self._rows(gates)
            columns = {"first": slice(0, self._features), "x": slice(0, self._features)}
            columns["h"] = slice(self._features, None)
            own = columns.get(what, slice(None))
            bias = {"x": self._of_x, "h": self._of_h}.get(what, self._of_both)
            self._taken[key] = (
                self._weight.moved(lambda t: t[rows][:, own]),
                bias[0].moved(lambda t: t[rows]) if bias else None,
            )
        return self._taken[key]

    def _rows(self, gates: Sequence[int]) -> Tensor:
        return torch.cat([torch.arange(self.hidden) + g * self.hidden for g in gates])

    def _linear(self, name: str, x: Value, weight: Weight, bias: Weight | None) -> Value:
        place = self.call.place().step(name)
        return dense(self.call.context, place, x, weight, bias)

    def emit(self, name: str, op: Op, *inputs: Value) -> Value:
        return step(self.call, name, op, *inputs)

    def part(self, name: str, x: Value, number: int, count: int = 1) -> Value:
        """Some of the gates [G*H] that were computed together."""
        start, stop = number * self.hidden, (number + count) * self.hidden
        if (start, stop) == (0, x.type.shape[-1]):
            return x
        return self.emit(name, Slice(_last_axis(x), start, stop, 1), x)


def _last_axis(x: Value) -> int:
    return len(x.type.shape) - 1


@dataclass(frozen=True, slots=True, eq=False)
class LstmCell:
    """c' = f * c + i * g and h' = o * tanh(c'); torch's rows are those of i, f, g, o."""

    gates: Gates

    def step(self, x: Value, states: States) -> tuple[Value, ...]:
        h, c = states
        if c is None:
            return self._first(x, h)
        g = self.gates
        whole = g.layer("gates", x, h, (0, 1, 3, 2))
        opened = g.emit("open", Unary(Function.SIGMOID), g.part("ifo", whole, 0, 3))
        new = g.emit("new", Unary(Function.TANH), g.part("g", whole, 3))
        i, f, o = (g.part(name, opened, n) for n, name in enumerate("ifo"))
        kept = g.scaled("kept", f, c) if isinstance(c, Tensor) else g.emit("kept", Multiply(), f, c)
        added = g.emit("added", Multiply(), i, new)
        return self._ended(o, g.emit("cell", Add(), kept, added))

    def _first(self, x: Value, h: State) -> tuple[Value, ...]:
        """A step from a cell of zeros, to which nothing is kept."""
        g = self.gates
        whole = g.layer("gates", x, h, (0, 3, 2))
        opened = g.emit("open", Unary(Function.SIGMOID), g.part("io", whole, 0, 2))
        new = g.emit("new", Unary(Function.TANH), g.part("g", whole, 2))
        i, o = g.part("i", opened, 0), g.part("o", opened, 1)
        return self._ended(o, g.emit("cell", Multiply(), i, new))

    def _ended(self, o: Value, cell: Value) -> tuple[Value, ...]:
        shown = self.gates.emit("shown", Unary(Function.TANH), cell)
        hidden = self.gates.emit("hidden", Multiply(), o, shown)
        return self.gates.projected(hidden), cell


@dataclass(frozen=True, slots=True, eq=False)
class GruCell:
    """h' = (1 - z) * n + z * h, n = tanh(W x + b + r * (U h + d)); torch's rows are r, z, n."""

    gates: Gates

    def step(self, x: Value, states: States) -> tuple[Value, ...]:
        (h,) = states
        g = self.gates
        opened = g.emit("open", Unary(Function.SIGMOID), g.summed("gates", x, h, (0, 1)))
        r, z = g.part("r", opened, 0), g.part("z", opened, 1)
        if not isinstance(h, Value):
            return (self._kept(z, self._new(x, self._scaled(r, h)), h),)
        from_h = g.emit("reset", Multiply(), r, g.of_h("from_h", h, (2,)))
        return (self._kept(z, self._new(x, from_h), h),)

    def _scaled(self, r: Value, h: Tensor | None) -> Value | None:
        """r times what a constant h adds; None if that is zeros."""
        added = self.gates.constant_of_h(2, h)
        return self.gates.scaled("reset", r, added) if bool(added.any()) else None

    def _new(self, x: Value, from_h: Value | None) -> Value:
        total = self.gates.of_x("from_x", x, (2,))
        if from_h is not None:
            total = self.gates.emit("total", Add(), total, from_h)
        return self.gates.emit("new", Unary(Function.TANH), total)

    def _kept(self, z: Value, new: Value, h: State) -> Value:
        """(1 - z) * n + z * h, whose parts keep signs and ranges of their own."""
        g = self.gates
        updated = affine_by(g.call, z, -ONE, ONE, f"{g.call.place().name}.update")
        changed = g.emit("changed", Multiply(), updated, new)
        if h is None:
            return changed
        kept = g.scaled("kept", z, h) if isinstance(h, Tensor) else g.emit("kept", Multiply(), z, h)
        return g.emit("hidden", Add(), changed, kept)


@dataclass(frozen=True, slots=True, eq=False)
class PlainCell:
    """h' = tanh or relu of W x + U h + b."""

    gates: Gates
    function: Op

    def step(self, x: Value, states: States) -> tuple[Value, ...]:
        total = self.gates.layer("total", x, states[0], (0,))
        return (self.gates.emit("hidden", self.function, total),)


def cell_of(name: str, call: Call, given: Parameters) -> Cell:
    """The cell of an aten op: lstm, gru, rnn_tanh, rnn_relu, or the same with _cell."""
    kind = name.removesuffix("_cell")
    gates = Gates(call, given, {"lstm": 4, "gru": 3}.get(kind, 1))
    match kind:
        case "lstm":
            return LstmCell(gates)
        case "gru":
            return GruCell(gates)
        case "rnn_relu":
            return PlainCell(gates, Clamp(0.0, None))
        case _:
            return PlainCell(gates, Unary(Function.TANH))
