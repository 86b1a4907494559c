"""Recurrent layers and cells: each against the user's module, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from qbnnc.frontend import read_module, read_modules
from qbnnc.frontend.convert.ops import recurrent
from qbnnc.frontend.distribution import Subject, check_distribution
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import KeepMask, Linear
from qbnnc.passes.pipeline import comparable
from qbnnc.support.errors import CompileError
from qbnnc.support.limits import Limit
from tests.frontend.outputs import assert_same, images

Forward: TypeAlias = Callable[[nn.Module, Tensor], Tensor]
STEPS, FEATURES = 3, 4


class Read(nn.Module):
    """A layer, and how forward reads it."""

    def __init__(self, layer: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.layer, self.read = layer, forward

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.layer, x)


def outputs(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x)[0]
    return y.flatten(1)


def last_step(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x)[0]
    return y[:, -1]


def last_state(layer: nn.Module, x: Tensor) -> Tensor:
    h: Tensor = layer(x)[1]
    return h[-1]


def both_states(layer: nn.Module, x: Tensor) -> Tensor:
    h, c = layer(x)[1]
    return torch.cat([h.transpose(0, 1).flatten(1), c[0]], 1)


def time_first(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x.transpose(0, 1))[0]
    return y.transpose(0, 1).flatten(1)


def twice(layer: nn.Module, x: Tensor) -> Tensor:
    """The states of a first run start a second one."""
    _, states = layer(x)
    y: Tensor = layer(x.flip(1), states)[0]
    return y.flatten(1)


def loop(cell: nn.Module, x: Tensor) -> Tensor:
    """A cell, called step by step."""
    states = None
    for t in range(x.shape[1]):
        states = cell(x[:, t], states)
    h = states[0] if isinstance(states, tuple) else states
    assert isinstance(h, Tensor)
    return h


CASES: dict[str, tuple[Callable[[], nn.Module], Forward]] = {
    "LSTM": (lambda: nn.LSTM(4, 3, batch_first=True), outputs),
    "LSTM, last step": (lambda: nn.LSTM(4, 3, batch_first=True), last_step),
    "LSTM, time first": (lambda: nn.LSTM(4, 3, 2), time_first),
    "LSTM, states": (lambda: nn.LSTM(4, 3, 2, batch_first=True, bidirectional=True), both_states),
    "LSTM without biases": (lambda: nn.LSTM(4, 3, bias=False, batch_first=True), outputs),
    "LSTM twice": (lambda: nn.LSTM(4, 3, 2, batch_first=True), twice),
    "GRU": (lambda: nn.GRU(4, 3, batch_first=True), outputs),
    "GRU, both ways": (lambda: nn.GRU(4, 3, 2, batch_first=True, bidirectional=True), outputs),
    "GRU without biases": (lambda: nn.GRU(4, 3, 2, bias=False, batch_first=True), last_state),
    "GRU, time first": (lambda: nn.GRU(4, 3), time_first),
    "GRU twice": (lambda: nn.GRU(4, 3, batch_first=True), twice),
    "RNN": (lambda: nn.RNN(4, 3, batch_first=True), last_state),
    "RNN, relu": (lambda: nn.RNN(4, 3, 2, nonlinearity="relu", batch_first=True), outputs),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), loop),
    "GRUCell": (lambda: nn.GRUCell(4, 3), loop),
    "RNNCell": (lambda: nn.RNNCell(4, 3), loop),
    "RNNCell, relu": (lambda: nn.RNNCell(4, 3, False, nonlinearity="relu"), loop),
}


def rows(count: int) -> Tensor:
    return images(count, STEPS, FEATURES)


@pytest.mark.few(6)
@pytest.mark.parametrize("case", CASES)
def test_same(case: str) -> None:
    torch.manual_seed(2)
    make, forward = CASES[case]
    assert_same(Read(make(), forward), rows(5))


def test_the_first_step_reads_no_states() -> None:
    """Zeros are not computed with: a step of an RNN is one layer, of [x, h] from the second on."""
    graph = read_module(Read(nn.RNN(4, 3, batch_first=True), last_step).eval(), rows(2))
    shapes = [node.inputs[1].type.shape for node in graph.nodes if isinstance(node.op, Linear)]
    assert shapes == [(3, 4), (3, 7), (3, 7)]
    assert [node.op.name for node in graph.nodes].count("unary") == STEPS


def test_a_step_that_is_not_read_joins_nothing() -> None:
    """output[:, -1] is the last step itself."""
    graph = read_module(Read(nn.LSTM(4, 3, batch_first=True), last_step).eval(), rows(2))
    assert graph.outputs[0].name.startswith("layer.hidden")


def keeps(graph: Graph) -> list[tuple[tuple[int, ...], float]]:
    """The shape and probability of each mask."""
    ops = [node.op for node in graph.nodes]
    return [(op.shape, op.p) for op in ops if isinstance(op, KeepMask)]


class Variational(nn.Module):
    """One mask of the state for all steps (Gal and Ghahramani, 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(FEATURES, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], 5)
        mask = torch.bernoulli(torch.full_like(h, 0.75)) / 0.75
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h * mask)
        return h


def test_one_mask_for_all_steps_is_one_mask() -> None:
    graph = read_module(Variational().eval(), rows(2))
    assert keeps(graph) == [((5,), 0.25)]


DROPPED: dict[str, tuple[Callable[[], nn.Module], Forward, list[tuple[tuple[int, ...], float]]]] = {
    "LSTM": (
        lambda: nn.LSTM(4, 3, 2, batch_first=True, dropout=0.25, bidirectional=True),
        both_states,
        [((3, 6), 0.25)],
    ),
    "GRU": (
        lambda: nn.GRU(4, 3, 3, batch_first=True, dropout=0.25),
        last_step,
        [((3, 3), 0.25)] * 2,
    ),
    "RNN": (lambda: nn.RNN(4, 3, 2, dropout=0.5), time_first, [((3, 3), 0.5)]),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("case", DROPPED)
def test_dropout_between_layers(case: str) -> None:
    """The masks of torch, and the values of the module on the same numbers."""
    torch.manual_seed(2)
    make, forward, masks = DROPPED[case]
    source = read_modules([Read(make(), forward).train()], rows(2))
    assert keeps(source.graph) == masks
    exact = comparable(source.graph, shared=False)
    check_distribution([Subject(source.references[0], exact, exact)], rows(24).numpy())


@pytest.mark.few(1)
@pytest.mark.parametrize("case", DROPPED)
def test_dropout_between_layers_that_is_off(case: str) -> None:
    torch.manual_seed(2)
    make, forward, _ = DROPPED[case]
    assert_same(Read(make(), forward), rows(5))
    with pytest.raises(CompileError, match=r"switched off"):
        read_module(Read(make(), forward).eval(), rows(2))


def from_places(layer: nn.Module, x: Tensor) -> Tensor:
    """First states that depend on the place of a row in its batch."""
    y: Tensor = layer(x, torch.arange(6.0).reshape(1, 2, 3).repeat(1, x.shape[0] // 2, 1))[0]
    return y[:, -1]


def packed(layer: nn.Module, x: Tensor) -> Tensor:
    lengths = torch.full((x.shape[0],), x.shape[1])
    h: Tensor = layer(pack_padded_sequence(x, lengths, batch_first=True))[1]
    return h[-1]


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "the batch for time": (
        lambda: Read(nn.LSTM(4, 3), last_step),
        r"lstm: takes axis 0 of its input for time.*batch_first=True",
    ),
    "states by place in the batch": (
        lambda: Read(nn.GRU(4, 3, batch_first=True), from_places),
        r"repeat: .*whose rows differ",
    ),
    "packed": (
        lambda: Read(nn.GRU(4, 3, batch_first=True), packed),
        r"packs sequences .*rows differ in length.*; pad the rows to one length",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(CompileError, match=message):
        read_module(make().eval(), rows(2))


def test_a_long_sequence_names_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a small limit, as thousands of steps take long to compile."""
    monkeypatch.setattr(recurrent, "OPERANDS", Limit("the steps", STEPS - 1))
    net = Read(nn.LSTM(FEATURES, 1, batch_first=True), last_step).eval()
    with pytest.raises(CompileError, match=r"unrolled over 3 steps, and at most 2 of this layer"):
        read_module(net, rows(2))
