"""Norms in the fake-quantised module: its values are the integers', and gradients reach all."""

from __future__ import annotations

import numpy as np
import torch

from qbnnc.backends.torch.simulation import Simulation
from qbnnc.ir.oracle import oracle_samples
from qbnnc.passes.pipeline import lower_model
from tests.backends.simulations import simulated
from tests.graphs import inputs
from tests.passes.ranges.test_unweighted_values import pre_norm


def test_the_module_gives_what_the_integers_give() -> None:
    """Both round the same numbers; float32 and float64 roots may part at a half of a code."""
    graph = pre_norm().graph()
    model = simulated(graph, "w8a7")
    x = inputs(graph, 50, 3)
    with torch.no_grad():
        made = Simulation(model).eval()(torch.from_numpy(x)).numpy()
    (wanted,) = oracle_samples(lower_model(model), x, samples=1)
    assert np.abs(made - wanted[0]).max() < 0.05 * wanted.std()


def test_weights_of_norms_are_trained() -> None:
    graph = pre_norm().graph()
    module = Simulation(simulated(graph, "w8a7")).train()
    x = torch.from_numpy(inputs(graph, 50, 3))
    x[0] = 0.0
    module(x).square().mean().backward()
    found = dict(module.named_parameters())
    for name in ("a/norm/weight", "a/norm/bias", "last/weight", "enter/weight"):
        gradient = found[f"constants.{name}"].grad
        assert gradient is not None
        assert bool(torch.isfinite(gradient).all())
        assert bool(gradient.any())


def test_a_group_of_equal_numbers_has_finite_gradients() -> None:
    """Without eps, 0/0 would be in the value and in the gradient."""
    graph = pre_norm().graph()
    module = Simulation(simulated(graph, "w8a7")).train()
    x = torch.zeros(3, 4, requires_grad=True)
    module(x).sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
