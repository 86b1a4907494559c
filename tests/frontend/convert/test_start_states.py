"""First states of recurrent layers, cells and loops, in the spellings that people use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module, read_modules
from qbnnc.frontend.distribution import Subject, check_distribution
from qbnnc.ir.check import check
from qbnnc.ir.ops import Concat, Linear
from qbnnc.support.errors import CompileError
from tests.frontend.outputs import assert_same, images

States: TypeAlias = Callable[["Net", Tensor], tuple[Tensor, Tensor]]
STEPS, FEATURES = 3, 4


class Net(nn.Module):
    """Layers that the spellings share; `read` is forward."""

    def __init__(self, read: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.read = read
        self.cell, self.gru_cell = nn.LSTMCell(4, 3), nn.GRUCell(4, 3)
        self.x, self.h, self.start = nn.Linear(4, 12), nn.Linear(3, 12), nn.Linear(4, 3)
        self.conv, self.last = nn.Conv2d(5, 12, 3, padding=1), nn.Linear(48, 2)
        self.p, self.q = nn.Parameter(torch.randn(1, 3)), nn.Parameter(torch.randn(1, 3))
        self.ps, self.qs = nn.Parameter(torch.randn(2, 1, 3)), nn.Parameter(torch.randn(2, 1, 3))
        self.zeros = nn.Buffer(torch.zeros(1, 3))
        self.lstm = nn.LSTM(4, 3, batch_first=True, bidirectional=True)
        self.deep = nn.GRU(4, 3, 2, batch_first=True)
        self.projected = nn.LSTM(4, 5, 2, batch_first=True, proj_size=3, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self, x)


def by_cell(states: States) -> Callable[[Net, Tensor], Tensor]:
    def read(net: Net, x: Tensor) -> Tensor:
        h, c = states(net, x)
        for step in x.unbind(1):
            h, c = net.cell(step, (h, c))
        return h

    return read


def by_hand(states: States) -> Callable[[Net, Tensor], Tensor]:
    def read(net: Net, x: Tensor) -> Tensor:
        return unrolled(x, *states(net, x), lambda step, h: net.x(step) + net.h(h))

    return read


def unrolled(x: Tensor, h: Tensor, c: Tensor, gates: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """An LSTM by hand, over axis 1."""
    for t in range(x.shape[1]):
        i, f, o, new = gates(x[:, t], h).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(new)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


STATES: dict[str, States] = {
    "zeros": lambda m, x: (torch.zeros(x.shape[0], 3), torch.zeros(x.size(0), 3)),
    "zeros in place": lambda m, x: (torch.empty(x.shape[0], 3).zero_(),) * 2,
    "repeated zeros": lambda m, x: (torch.zeros(1, 3).repeat(len(x), 1),) * 2,
    "a buffer": lambda m, x: (m.zeros.expand(x.shape[0], -1),) * 2,
    "learned, expanded": lambda m, x: (m.p.expand(len(x), -1), m.q[0].expand(len(x), 3)),
    "learned, repeated": lambda m, x: (m.p.repeat(x.shape[0], 1), m.q.tile((x.shape[0], 1))),
    "learned, added": lambda m, x: (m.p + x.new_zeros(len(x), 3), m.q + torch.zeros(len(x), 1)),
    "learned h alone": lambda m, x: (m.p.expand(len(x), -1), x.new_zeros(x.shape[0], 3)),
    "learned c alone": lambda m, x: (x.new_zeros(x.shape[0], 3), m.q.expand(len(x), -1)),
    "ones": lambda m, x: (torch.ones(x.shape[0], 3),) * 2,
    "of a layer": lambda m, x: (torch.tanh(m.start(x[:, 0])), m.start(x[:, 1])),
}


@pytest.mark.few(3)
@pytest.mark.sample(6)
@pytest.mark.parametrize("name", STATES)
def test_states_of_loops(name: str) -> None:
    for read in (by_cell(STATES[name]), by_hand(STATES[name])):
        assert_same(Net(read), images(5, STEPS, FEATURES))


def conv_lstm(net: Net, x: Tensor) -> Tensor:
    h = torch.zeros(x.shape[0], 3, 4, 4)
    frames = x.unflatten(2, (2, 4, 4))
    h = unrolled(frames, h, h, lambda step, h: net.conv(torch.cat([step, h], 1)))
    y: Tensor = net.last(h.flatten(1))
    return y


def gru_loop(net: Net, x: Tensor) -> Tensor:
    h = net.p.expand(len(x), -1)
    for step in x.unbind(1):
        h = net.gru_cell(step, h)
    return h


def gates_apart(net: Net, x: Tensor) -> Tensor:
    """A GRU whose gates of the state are taken apart before anything is added to them."""
    h = x.new_zeros(x.shape[0], 3)
    for step in x.unbind(1):
        of_x = net.x(step).split(3, dim=1)
        r, z, n, _ = net.h(h).chunk(4, dim=1)
        update = torch.sigmoid(of_x[1] + z)
        new = torch.tanh(of_x[2] + torch.sigmoid(of_x[0] + r) * n)
        h = new + update * (h - new)
    return h


def gates_unbound(net: Net, x: Tensor) -> Tensor:
    """Gates of a learned state, by unbind of a view."""
    h = net.p.repeat(x.shape[0], 1)
    for step in x.unbind(1):
        f, _, n, _ = net.h(h).view(-1, 4, 3).unbind(1)
        h = h + torch.sigmoid(f) * (torch.tanh(n + net.start(step)) - h)
    return h


LAYERS: dict[str, tuple[Callable[[Net, Tensor], Tensor], int]] = {
    "learned, both ways": (
        lambda m, x: m.lstm(x, (m.ps.expand(-1, len(x), -1), m.qs.repeat(1, len(x), 1)))[0],
        FEATURES,
    ),
    "learned, two layers": (lambda m, x: m.deep(x, m.ps.expand(-1, len(x), 3))[0], FEATURES),
    "ones": (lambda m, x: m.deep(x, x.new_ones(2, x.shape[0], 3))[0], FEATURES),
    "of a layer": (
        lambda m, x: m.deep(x, torch.cat([m.start(x[:, 0]).unsqueeze(0)] * 2, 0))[0],
        FEATURES,
    ),
    "projected": (lambda m, x: m.projected(x)[0], FEATURES),
    "projected, states": (
        lambda m, x: torch.cat([s.transpose(0, 1).flatten(1) for s in m.projected(x)[1]], 1),
        FEATURES,
    ),
    "gru cell, learned": (gru_loop, FEATURES),
    "gates apart": (gates_apart, FEATURES),
    "gates unbound": (gates_unbound, FEATURES),
    "ConvLSTM": (conv_lstm, 32),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own, of its kernels
@pytest.mark.few(2)
@pytest.mark.parametrize("name", LAYERS)
def test_states_of_layers(name: str) -> None:
    read, features = LAYERS[name]
    assert_same(Net(lambda m, x: read(m, x).flatten(1)), images(5, STEPS, features))


def test_zeros_are_not_computed_with() -> None:
    """The first step of a loop over a ConvLSTM joins nothing, and one by hand has one layer."""
    graph = read_module(Net(by_hand(STATES["zeros"])).eval(), images(2, STEPS, FEATURES))
    layers = [node for node in graph.nodes if isinstance(node.op, Linear)]
    assert len(layers) == 2 * STEPS - 1
    graph = read_module(Net(conv_lstm).eval(), images(2, STEPS, 32))
    joins = [node for node in graph.nodes if isinstance(node.op, Concat)]
    assert len(joins) == STEPS - 1


def sampled(net: Net, x: Tensor) -> Tensor:
    """Weights and a bias drawn once for all steps."""
    w, u = (p + 0.2 * torch.randn_like(p) for p in (net.x.weight, net.h.weight))
    bias = net.x.bias + 0.2 * torch.randn_like(net.x.bias)
    zeros = torch.zeros(x.shape[0], 3)
    return unrolled(x, zeros, zeros, lambda step, h: step @ w.t() + h @ u.t() + bias)


def sampled_from_learned(net: Net, x: Tensor) -> Tensor:
    """A cell whose weights are drawn, and whose first states are constants."""
    w, u = (p + 0.2 * torch.randn_like(p) for p in (net.x.weight, net.h.weight))
    h, c = net.p.expand(len(x), -1), net.q.expand(len(x), -1)
    for step in x.unbind(1):
        h, c = torch.lstm_cell(step, (h, c), w, u, net.x.bias, net.h.bias)
    return h


def zoneout(net: Net, x: Tensor) -> Tensor:
    h = x.new_zeros(x.shape[0], 3)
    for step in x.unbind(1):
        new, keep = net.gru_cell(step, h), torch.bernoulli(torch.full_like(h, 0.7))
        h = keep * new + (1 - keep) * h
    return h


def zoneout_where(net: Net, x: Tensor) -> Tensor:
    h = torch.zeros(x.shape[0], 3)
    for step in x.unbind(1):
        h = torch.where(torch.rand_like(h) < 0.7, net.gru_cell(step, h), h)
    return h


def gal(net: Net, x: Tensor) -> Tensor:
    """One mask of the inputs and one of the states, for all steps (Gal and Ghahramani, 2016)."""
    x = F.dropout(x.new_ones(x.shape[0], 1, 4), 0.2, training=True) * x
    kept = F.dropout(x.new_ones(x.shape[0], 3), 0.3, training=True)
    h = c = torch.zeros(x.shape[0], 3)
    for step in x.unbind(1):
        h, c = net.cell(step, (h * kept, c))
    return h


DRAWN = {
    "weights": sampled,
    "zoneout": zoneout,
    "zoneout, where": zoneout_where,
    "masks for all steps": gal,
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", DRAWN)
def test_what_loops_draw(name: str) -> None:
    rows = images(8, STEPS, FEATURES)
    (member,) = read_modules([Net(DRAWN[name]).eval()], rows[:2]).members
    check(member.graph)
    check_distribution([Subject(member.reference, member.graph, member.graph)], rows.numpy())


def test_constant_states_of_random_weights_are_refused() -> None:
    with pytest.raises(CompileError, match=r"lstm_cell: .*weights that read them are random"):
        read_module(Net(sampled_from_learned).eval(), images(2, STEPS, FEATURES))
