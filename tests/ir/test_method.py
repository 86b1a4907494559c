"""The name of what makes the samples of a model differ."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from tests.drawing_graphs import drawn_weights, noisy_activations
from tests.graphs import bayesian_lenet, mlp


@pytest.mark.parametrize(
    ("graph", "members", "name"),
    [
        (mlp, 1, "MC dropout"),
        (bayesian_lenet, 1, "MC dropout + Bayes by Backprop"),
        (drawn_weights, 1, "MC dropout + choice between constants"),
        (noisy_activations, 1, "noise on activations + choice between constants"),
        (mlp, 3, "MC dropout + ensemble of 3"),
    ],
)
def test_method(graph: Callable[[], Graph], members: int, name: str) -> None:
    head = Head(Task.RAW, tuple(f"y{i}" for i in range(len(graph().outputs))))
    assert Model((graph(),) * members, head).method == name
