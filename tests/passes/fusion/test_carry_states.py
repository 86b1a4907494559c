"""carry-states: sums of products of a recurrence; the oracle is the same bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend.read import read_module
from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.ops import Clamp, SumOfProducts
from qbnnc.passes.pipeline import pipeline
from tests.graphs import inputs, run

STEPS = 4


def carried(net: nn.Module, features: int = 3) -> Graph:
    """The graph after the pass, which must compute the same bits as before."""
    graph = read_module(net.eval(), torch.zeros(2, STEPS, features))
    before = pipeline().before("carry-states")(graph)
    after = pipeline().only("carry-states")(before)
    check(after)
    x = inputs(graph)
    for a, b in zip(run(before, x), run(after, x), strict=True):
        assert np.array_equal(a, b)
    return after


def sums(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.op, SumOfProducts)]


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)[0][:, -1]
        return y


class Cells(nn.Module):
    """A loop over LSTMCell, with what is carried written by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        h, c = torch.zeros(len(x), 5), torch.zeros(len(x), 5)
        for step in range(STEPS):
            h, c = self.cell(x[:, step], (h, c))
        return torch.cat([h, c], dim=1)


class ByHand(nn.Module):
    """An LSTM of linear layers, whose gates see the cell too (peepholes)."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(3 + 4, 16)
        self.peephole = nn.Parameter(torch.linspace(-1, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        h, c = torch.zeros(len(x), 4), torch.zeros(len(x), 4)
        for step in range(STEPS):
            i, f, g, o = self.gates(torch.cat([x[:, step], h], dim=1)).chunk(4, dim=1)
            c = torch.sigmoid(f + c * self.peephole) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h


class Highway(nn.Module):
    """Two layers, each of which carries a part of what it read."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :2].flatten(1)
        for layer, gate in zip(self.layers[::2], self.layers[1::2], strict=True):
            kept = torch.sigmoid(gate(x))
            x = torch.relu(layer(x)) * (1 - kept) + x * kept
        return x


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (Last(nn.LSTM(3, 5, batch_first=True)), STEPS),
        (Last(nn.LSTM(3, 5, 2, batch_first=True)), 2 * STEPS),
        (Last(nn.GRU(3, 5, batch_first=True)), STEPS),
        (Cells(), STEPS),
        (ByHand(), STEPS),
        (Highway(), 2),
    ],
    ids=["lstm", "two layers", "gru", "cells", "peepholes", "highway"],
)
def test_each_step_of_a_recurrence_is_one_sum(net: nn.Module, count: int) -> None:
    assert len(sums(carried(net))) == count


def test_plain_cells_carry_no_sums() -> None:
    assert not sums(carried(Last(nn.RNN(3, 5, batch_first=True))))


def test_others_read_views() -> None:
    graph = carried(Last(nn.GRU(3, 5, batch_first=True)))
    states = {node.output for node in sums(graph)}
    reading = {type(node.op) for node in graph.nodes if not states.isdisjoint(node.inputs)}
    assert reading == {SumOfProducts, Clamp}
