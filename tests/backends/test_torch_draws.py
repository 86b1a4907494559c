"""Noise on activations, choices and dropped weights in PyTorch: evaluation, training, modules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from qbnnc.backends.torch import Ranges, Simulation, torch_samples
from qbnnc.backends.torch.float_export import as_module
from qbnnc.backends.torch.noise import CountedNoise, FreshNoise
from qbnnc.backends.torch.roles import Fixed, Observed, parameters_of, roles_of
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Add, ChoiceIndex, Concat, Distribution, Linear, Multiply, Noise, RandomOp
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.rng import Draw
from qbnnc.passes.options import Scales
from tests.backends.simulations import simulated
from tests.backends.test_torch_simulation import largest_step, train
from tests.drawing_graphs import drawn_weights, noisy_activations
from tests.examples import slow_but
from tests.graphs import inputs
from tests.net import Net


def sampled_and_dropped() -> Graph:
    """A layer that samples its weight, and drops elements of the sample."""
    net = Net((5,))
    mu, sigma = net.rng.normal(size=(4, 5)), net.rng.uniform(0.1, 0.5, (4, 5))
    weight = net.dropped("fc.weight", net.sampled("fc.sample", mu, sigma), 0.3)
    return net.emit(Linear(), weight, net.constant("fc.bias", 4), name="fc").graph()


GRAPHS = pytest.mark.parametrize("graph", [drawn_weights, noisy_activations, sampled_and_dropped])
NORMAL, UNIFORM = Distribution.NORMAL, Distribution.UNIFORM


@GRAPHS
def test_evaluation_draws_the_numbers_of_the_oracle(graph: Callable[[], Graph]) -> None:
    model, x = Model((graph(),), Head(Task.RAW)), inputs(graph())
    made = torch_samples(model, x, samples=4, seed=5, first_row=2)
    expected = oracle_samples(model, x, samples=4, seed=5, first_row=2)
    for a, b in zip(made, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@GRAPHS
@pytest.mark.parametrize("bits", slow_but(["w8a7"], ["w8a7", "w4a4"]))
@pytest.mark.parametrize("scales", slow_but([Scales.FREE], Scales))
@pytest.mark.parametrize("ranges", slow_but([Ranges.EMA], Ranges))
def test_integers_follow_what_was_trained(
    graph: Callable[[], Graph], bits: str, scales: Scales, ranges: Ranges
) -> None:
    model = simulated(graph(), bits, scales=scales)
    simulation, x = Simulation(model, ranges=ranges), inputs(graph(), 20, seed=3)
    before = {v.name: array for v, array in model.graph.constants.items()}
    train(simulation, torch.from_numpy(x))
    tuned = simulation.model()
    after = {v.name: array for v, array in tuned.graph.constants.items()}
    assert before.keys() == after.keys()
    trained = {v.name for v in parameters_of(model.graph) if not v.name.endswith(".sigma")}
    for name in trained:
        assert not np.array_equal(before[name], after[name]), name
    assert largest_step(tuned, x) <= 1


def test_what_is_trained_has_its_place_in_the_graph() -> None:
    """Weights under a mask, members of weights and biases, chosen values: all that is quantised."""
    names = {value.name for value in parameters_of(simulated(drawn_weights()).graph)}
    assert {"fc.weight.values", "fc.bias.values", "out.weight.values", "out.bias"} <= names
    assert len(names) == 6
    names = {value.name for value in parameters_of(simulated(noisy_activations()).graph)}
    assert "mask.values" in names


class OneMember(FreshNoise):
    """Fresh numbers, but for choices, which all take one member."""

    def __init__(self, member: int) -> None:
        super().__init__(torch.Generator().manual_seed(0))
        self.member = member

    def draw(self, op: RandomOp, rows: int, like: torch.Tensor) -> torch.Tensor:
        if isinstance(op, ChoiceIndex):
            return torch.full((1 if op.shared else rows, 1), self.member)
        return super().draw(op, rows, like)


def test_gradients_reach_the_member_that_was_chosen() -> None:
    simulation = Simulation(simulated(drawn_weights(), "w8a7"))
    x = torch.from_numpy(inputs(drawn_weights(), 20))
    (out,) = simulation.sample(x, OneMember(1))
    out.square().sum().backward()
    found = {name: p.grad for name, p in simulation.constants.named_parameters()}
    for name in ("fc/weight/values", "fc/bias/values", "out/weight/values"):
        grad = found[name]
        assert grad is not None
        assert grad[1].any()
        assert not grad[0].any()
        assert not grad[2].any()


def test_gradients_pass_a_mask_where_it_keeps() -> None:
    net = Net((6,))
    weight = net.dropped("fc.weight", net.constant("fc.all", 4, 6), 0.5)
    graph = net.emit(Linear(), weight, net.constant("fc.bias", 4), name="fc").graph()
    simulation = Simulation(simulated(graph, "w8a7"))
    draw, x = Draw.of(0, [3], range(20)), torch.from_numpy(inputs(graph, 20))
    (out,) = simulation.sample(x, CountedNoise(draw))
    out.square().sum().backward()
    ((op, _),) = ((n.op, n) for n in graph.nodes if isinstance(n.op, RandomOp))
    (grad,) = (p.grad for p in simulation.constants.parameters() if p.ndim == 2)
    assert grad is not None
    kept = torch.from_numpy(op.draw(draw)[0, 0] != 0)
    assert not grad[~kept].any()
    assert (grad[kept] != 0).double().mean() > 0.7  # the others are at an end of the range


@pytest.mark.parametrize("shared", [False, True])
def test_fresh_numbers(shared: bool) -> None:
    """Never 0 or 1 where uniform, normal with a deviation of 1, indices of every member."""
    noise, like, rows = FreshNoise(torch.Generator().manual_seed(0)), torch.zeros(1), 30
    uniform = noise.draw(Noise(UNIFORM, (999, 2), 0, shared), rows, like)
    normal = noise.draw(Noise(NORMAL, (999, 2), 1, shared), rows, like)
    assert uniform.shape == normal.shape == (1 if shared else rows, 999, 2)
    assert 0 < float(uniform.min()) < 0.01
    assert 0.99 < float(uniform.max()) < 1
    assert abs(float(uniform.mean()) - 0.5) < 0.02
    assert abs(float(normal.mean())) < 0.1
    assert abs(float(normal.std()) - 1) < 0.05
    index = [noise.draw(ChoiceIndex(3, s, shared), rows, like) for s in range(2, 40)]
    assert {tuple(i.shape) for i in index} == {(1 if shared else rows, 1)}
    assert torch.cat(index).unique().tolist() == [0, 1, 2]
    assert noise.draw(ChoiceIndex(3, 2, shared), rows, like) is index[0]


def noisy(combine: Add | Concat, distribution: Distribution = NORMAL) -> Graph:
    """A layer plus noise, or beside noise."""
    net = Net((4,)).linear(5, "fc")
    hidden = net.value
    net.value = net.drawn(Noise(distribution, (5,), 0, shared=True), "eps")
    return net.emit(combine, hidden, name="joined").linear(2, "out").graph()


def test_the_grid_of_noise_stays_where_it_is() -> None:
    """A batch of few numbers says little about a range that is known."""
    model = simulated(noisy(Add()))
    roles = roles_of(model.graph)
    drawn = [n.output for n, role in roles.items() if isinstance(role, Fixed)]
    assert len(drawn) == 1
    simulation = Simulation(model)
    train(simulation, torch.from_numpy(inputs(model.graph, 20)), steps=20)
    tuned = {n.output.name: n.output.type.quant for n in simulation.graph().nodes}
    assert tuned[drawn[0].name] == drawn[0].type.quant


def test_noise_that_is_joined_with_others_has_their_grid() -> None:
    model = simulated(noisy(Concat(0)))
    roles = roles_of(model.graph)
    assert not any(isinstance(role, Fixed) for role in roles.values())
    simulation, x = Simulation(model), inputs(model.graph, 20)
    train(simulation, torch.from_numpy(x), steps=20)
    assert largest_step(simulation.model(), x) <= 1


def test_the_range_of_a_choice_is_that_of_all_members() -> None:
    """Whichever is chosen: the range does not move while the members stay."""
    net = Net((4,)).linear(5, "fc")
    index = net.drawn(ChoiceIndex(3, 0), "index")
    values = net.choice("gate", index, 5)
    model = simulated(net.emit(Multiply(), values, name="gated").linear(2, "out").graph())
    (role,) = (r for r in roles_of(model.graph).values() if isinstance(r, Observed) and r.members)
    before = {n.output.name: n.output.type.quant for n in model.graph.nodes}
    simulation = Simulation(model)
    simulation.train()
    for member in (0, 1, 2, 2, 2, 0) * 5:
        simulation.sample(torch.from_numpy(inputs(model.graph, 8)), OneMember(member))
    after = {n.output.name: n.output.type.quant for n in simulation.graph().nodes}
    assert after[role.group.name] == before[role.group.name]


@GRAPHS
def test_plain_modules_have_the_mean_and_deviation(graph: Callable[[], Graph]) -> None:
    x = inputs(graph(), 3)
    module = as_module((graph(),), torch.from_numpy(x))
    torch.manual_seed(0)
    made = torch.stack([module(torch.from_numpy(x))[0] for _ in range(3000)]).numpy()
    model = Model((graph(),), Head(Task.RAW))
    (wanted,) = oracle_samples(model, x, samples=3000)
    deviation = wanted.std(axis=0)
    assert np.abs(made.std(axis=0) / deviation - 1).max() < 0.15
    assert (np.abs(made.mean(axis=0) - wanted.mean(axis=0)) / deviation).max() < 0.15


def test_plain_modules_draw_uniform_numbers_that_have_logarithms() -> None:
    net = Net((4,))
    graph = net.emit(Add(), net.drawn(Noise(UNIFORM, (4,), 0), "u"), name="sum").graph()
    zeros = torch.zeros(50_000, 4)
    (made,) = as_module((graph,), zeros)(zeros)
    assert 0 < float(made.min()) < float(made.max()) < 1
