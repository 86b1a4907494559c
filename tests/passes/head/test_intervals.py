"""Interval analysis: what it proves, and that what runs lies within."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from torch import Tensor

from qbnnc.frontend import read_module
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.passes.head.intervals import Interval, intervals
from tests.graphs import float_graphs, inputs
from tests.heads import Heads, example, network

Function = Callable[[Heads, Tensor], Tensor]


def interval_of(function: Function) -> Interval:
    graph = read_module(network(function, 3), example(2))
    return intervals(graph)[graph.outputs[0]]


@pytest.mark.sample(12)
@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("function", "low"),
    [
        (lambda s, h: torch.exp(s.second(h)), 0),
        (lambda s, h: F.softplus(s.second(h)), 0),
        (lambda s, h: s.second(h).abs(), 0),
        (lambda s, h: torch.relu(s.second(h)), 0),
        (lambda s, h: s.second(h).clamp(min=0.1), 0.1),
        (lambda s, h: s.second(h).clamp(1e-3, 5) * 2, 2e-3),
        (lambda s, h: s.second(h) * s.second(h), 0),
        (lambda s, h: torch.exp(s.mean(h)) + F.softplus(s.second(h)), 0),
        (lambda s, h: torch.exp(s.mean(h)) * F.softplus(s.second(h)), 0),
        (lambda s, h: F.dropout(torch.exp(s.second(h)), 0.5), 0),
        (lambda s, h: torch.sigmoid(s.second(h)), 0),
        (lambda s, h: F.softplus(s.second(h), beta=5), 0),
        (lambda s, h: F.elu(s.second(h)) + 1.5, 0.5),
        (lambda s, h: torch.sqrt(s.second(h) ** 2 + 0.01), 0.1),
        (lambda s, h: torch.exp(s.second(h)).sum(1, keepdim=True).expand(-1, 3), 0),
        (lambda s, h: torch.exp(s.second(h)).reshape(-1, 3, 1), 0),
        (lambda s, h: torch.cat([torch.exp(s.second(h)), torch.relu(s.mean(h))], 1), 0),
        (lambda s, h: F.elu(s.second(h)) * -1.0, -np.inf),
        (lambda s, h: F.silu(s.second(h)), -0.27847),
        (lambda s, h: s.second(h), -np.inf),
        (lambda s, h: torch.tanh(s.second(h)), -1),
        (lambda s, h: torch.exp(s.mean(h)) * s.second(h), -np.inf),
        (lambda s, h: s.mean(h) * s.second(h), -np.inf),
    ],
)
def test_lower_bounds(function: Function, low: float) -> None:
    assert interval_of(function).low == pytest.approx(low, abs=1e-4)


@pytest.mark.few(0)
def test_probabilities_and_what_is_above_zero() -> None:
    assert interval_of(lambda s, h: torch.sigmoid(s.mean(h))).is_probability
    assert interval_of(lambda s, h: torch.softmax(s.mean(h), 1)).is_probability
    assert not interval_of(lambda s, h: torch.exp(s.mean(h))).is_probability
    assert interval_of(lambda s, h: torch.exp(s.mean(h))).low > 0
    assert interval_of(lambda s, h: torch.exp(s.mean(h))).high == np.inf
    assert interval_of(lambda s, h: torch.relu(s.mean(h))).low == 0


@given(float_graphs())
def test_every_value_lies_in_its_interval(graph: Graph) -> None:
    known = intervals(graph)

    def observe(value: Value, array: Array) -> None:
        low, high = known[value].low, known[value].high
        assert array.min() >= low - 1e-5 * max(1, abs(low))
        assert array.max() <= high + 1e-5 * max(1, abs(high))

    evaluate(graph, 10 * inputs(graph, 6), Draw.of(0, [0, 1], range(6)), observe)
