"""Grids that are trained: gradients through rounding, ranges that move, learn and freeze."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qbnnc.backends.torch import Ranges, Simulation
from qbnnc.backends.torch.grid import Grid
from qbnnc.ir.evaluate import evaluate_node
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Concat, FakeQuantize
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import QuantParams
from tests.backends.simulations import simulated
from tests.graphs import inputs, lenet, mlp, unet
from tests.net import Net


def grid(scale: Tensor, zero: int = 3) -> Grid:
    return Grid(scale, torch.tensor([float(zero)]), 0, 15)


def test_gradients_pass_where_a_value_is_in_range_and_nowhere_else() -> None:
    x = torch.tensor([[-9.0, -0.26, 0.1, 0.9, 9.0]], requires_grad=True)
    grid(torch.tensor([0.1])).round(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0, 1.0, 1.0, 0.0]]


def test_the_gradient_of_a_scale_is_that_of_learned_step_sizes() -> None:
    scale = torch.tensor([0.5], requires_grad=True)
    grid(scale, zero=0).round(torch.tensor([[0.6, 99.0]])).sum().backward()
    assert scale.grad is not None
    in_range, outside = 1 - 0.6 / 0.5, 15.0
    torch.testing.assert_close(
        scale.grad, torch.tensor([(in_range + outside) / np.sqrt(2 * 15)], dtype=torch.float32)
    )


@given(st.floats(-4, 4), st.floats(0.05, 1.5), st.integers(0, 15))
def test_rounding_is_that_of_the_simulation(value: float, scale: float, zero: int) -> None:
    quant = QuantParams((float(np.float32(scale)),), (zero,), 0, 15)
    made = Grid.of(quant, torch.device("cpu")).round(torch.tensor([[value]]))
    theirs = Net((1,))
    theirs.emit(FakeQuantize(quant), name="codes")
    node = theirs.graph().nodes[0]
    data = {node.inputs[0]: np.array([[[value]]], np.float32)}
    assert made.item() == evaluate_node(node, data, Draw.of(0, [0], [0])).item()


def test_moving_averages_follow_the_values_until_they_are_frozen() -> None:
    model = simulated(mlp(p=None), "w8a7")
    simulation = Simulation(model, ranges=Ranges.EMA)
    x = torch.from_numpy(inputs(mlp(), 64))
    simulation.train()
    for size in (1.5, 0.5) * 5:
        simulation(size * x)
    before = input_scale(simulation.graph())
    assert before == input_scale(model.graph)  # ten batches are what later ones are compared with
    for _ in range(60):
        simulation(2 * x)
    assert input_scale(simulation.graph()) == pytest.approx(2 * before, rel=0.02)
    simulation.freeze_ranges()
    for _ in range(60):
        simulation(x)
    assert input_scale(simulation.graph()) == pytest.approx(2 * before, rel=0.02)
    simulation.eval()(x)


def test_values_that_are_joined_move_one_range_together() -> None:
    model, x = simulated(unet()), torch.from_numpy(inputs(unet(), 16))
    simulation = Simulation(model, ranges=Ranges.EMA).train()
    for _ in range(30):
        simulation(x)
    assert joined_scale(simulation.graph()) == pytest.approx(joined_scale(model.graph), rel=1e-3)
    for _ in range(60):
        simulation(3 * x)
    wider = joined_scale(simulation.graph()) / joined_scale(model.graph)
    assert 1.5 < wider < 3.5


def joined_scale(graph: Graph) -> float:
    """The range that all values share which meet in the concatenation."""
    (joined,) = [n for n in graph.nodes if isinstance(n.op, Concat)]
    (scale,) = {v.type.quant.scale for v in joined.inputs if v.type.quant is not None}
    return scale[0]


def test_small_weights_get_small_steps() -> None:
    graph = mlp()
    first = next(v for v in graph.constants if v.name == "fc1.weight")
    graph.constants[first][:] /= 255
    simulation = Simulation(simulated(graph))
    small, *others = simulation.parameter_groups(1e-3)
    (weight,) = small["params"]
    assert weight is simulation.get_parameter("constants.fc1/weight")
    spread = float(weight.detach().square().mean().sqrt())
    assert small["lr"] == pytest.approx(1e-3 * spread / 0.02)
    assert {group["lr"] for group in others} == {1e-3}
    assert len(others) + 1 == len(list(simulation.parameters()))


def input_scale(graph: Graph) -> float:
    return next(n.op.quant.scale[0] for n in graph.nodes if isinstance(n.op, FakeQuantize))


def test_evaluation_moves_no_range() -> None:
    simulation = Simulation(simulated(mlp()))
    before = str(simulation.graph())
    simulation.eval()(100 * torch.from_numpy(inputs(mlp(), 8)))
    assert str(simulation.graph()) == before


def test_frozen_ranges_do_not_learn() -> None:
    simulation = Simulation(simulated(lenet()), ranges=Ranges.LEARNED)
    simulation.freeze_ranges()
    assert {name for name, p in simulation.named_parameters() if p.requires_grad} == {
        f"constants.{layer}/{kind}"
        for layer in ("conv1", "conv2", "fc1", "fc2")
        for kind in ("weight", "bias")
    }
