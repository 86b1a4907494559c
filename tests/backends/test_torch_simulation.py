"""The trainable network: the same simulation as the oracle's, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from qbnnc.backends.torch import Ranges, Simulation
from qbnnc.backends.torch.constants import Constants
from qbnnc.backends.torch.forward import Evaluation, StoredGrids
from qbnnc.backends.torch.noise import CountedNoise, FreshNoise, NoiseSource
from qbnnc.ir import format
from qbnnc.ir.check import check
from qbnnc.ir.evaluate import evaluate_node
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import KeepMask, Move, Reshape
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array, DType, Stage
from qbnnc.passes.options import Scales, WeightScheme
from qbnnc.passes.pipeline import lower_model
from qbnnc.support.errors import CompileError
from tests.backends.simulations import simulated
from tests.examples import slow_but
from tests.graphs import FAMILIES, bayesian_mlp, float_graphs, inputs, lenet, mlp, resnet
from tests.recurrent_graphs import gated

NETWORKS = {"mlp": mlp, "lenet": lenet, "resnet": resnet, "gated": gated} | FAMILIES


def train(simulation: Simulation, x: Tensor, steps: int = 4, lr: float = 0.02) -> None:
    optimiser = torch.optim.SGD([p for p in simulation.parameters() if p.requires_grad], lr)
    simulation.train()
    for _ in range(steps):
        outputs = simulation.sample(x, FreshNoise(torch.Generator().manual_seed(0)))
        loss = torch.stack([o.square().mean() for o in outputs]).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(simulation.parameters(), 1.0)
        optimiser.step()


class Recording(Evaluation):
    """Keeps the value of every node."""

    def __init__(self, graph: Graph) -> None:
        arrays = {v: torch.from_numpy(a.copy()) for v, a in graph.constants.items()}
        super().__init__(graph, arrays.__getitem__, StoredGrids())
        self.seen: dict[str, Array] = {}

    def value_of(
        self, node: Node, values: Mapping[Value, Tensor], noise: NoiseSource, x: Tensor
    ) -> Tensor:
        value = super().value_of(node, values, noise, x)
        self.seen[node.output.name] = value.detach().numpy()[None]
        return value


def largest_step(tuned: Model, x: Array) -> int:
    """Max |code difference| of every INTEGER node fed the codes of the simulation in PyTorch."""
    draw = Draw.of(3, [0], range(len(x)))
    recording = Recording(tuned.graph)
    recording.outputs(torch.from_numpy(x), CountedNoise(draw))
    integer = lower_model(tuned).graph
    types = {n.output.name: n.output.type for n in integer.nodes}
    codes: dict[str, Array] = {}
    for name, real in recording.seen.items():
        quant = types[name].quant if name in types else None
        if quant is not None and types[name].dtype is DType.U8:
            scale, zero = quant.per_tensor
            codes[name] = (np.rint(real / np.float32(scale)) + zero).astype(np.uint8)
    worst = 0
    data: dict[Value, Array] = {v: a[None, None] for v, a in integer.constants.items()}
    data[integer.input] = x[None]
    for node in integer.nodes:
        made = evaluate_node(node, data, draw)
        if (expected := codes.get(node.output.name)) is not None:
            worst = max(worst, int(np.abs(made.astype(int) - expected).max()))
            made = np.broadcast_to(expected, made.shape)
        data[node.output] = made
    names = {
        n.output.name
        for n in integer.nodes
        if n.output.type.dtype is DType.U8 and not isinstance(n.op, Reshape | Move | KeepMask)
    }
    assert names <= codes.keys()
    return worst


@pytest.mark.sample(40)
@pytest.mark.parametrize("name", slow_but(["mlp"], NETWORKS))
@pytest.mark.parametrize("ranges", slow_but([Ranges.LEARNED], Ranges))
@pytest.mark.parametrize(
    ("bits", "weights", "scales"),
    [
        ("w8a7", WeightScheme.CHANNEL_SYMMETRIC, Scales.FREE),
        ("w3a3", WeightScheme.TENSOR_AFFINE, Scales.FREE),
        ("w4a4", WeightScheme.CHANNEL_AFFINE, Scales.POW2),
    ],
)
def test_tuned_integers_agree_with_the_simulation_within_1(
    name: str, ranges: Ranges, bits: str, weights: WeightScheme, scales: Scales
) -> None:
    model = simulated(NETWORKS[name](), bits, weights, scales)
    x = inputs(model.graph, 30)
    simulation = Simulation(model, ranges=ranges)
    train(simulation, torch.from_numpy(x))
    tuned = simulation.model()
    tuned.check()
    assert format.digest(tuned) != format.digest(model)
    assert largest_step(tuned, x) <= 1


@pytest.mark.few(8)
@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("ranges", list(Ranges))
def test_untouched_it_is_the_graph_it_was_made_from(name: str, ranges: Ranges) -> None:
    model = simulated(NETWORKS[name]())
    same = Simulation(model, ranges=ranges).eval().graph()
    assert str(same) == str(model.graph)
    for value, array in model.graph.constants.items():
        assert (same.constants[value] == array).all()


@pytest.mark.slow
@given(float_graphs(), st.sampled_from(["w8a7", "w4a4", "w2a2"]), st.sampled_from(WeightScheme))
def test_random_graphs_train_and_come_back(graph: Graph, bits: str, weights: WeightScheme) -> None:
    model = simulated(graph, bits, weights)
    x = inputs(graph, 12)
    simulation = Simulation(model, ranges=Ranges.LEARNED)
    train(simulation, torch.from_numpy(x), steps=2)
    tuned = simulation.graph()
    check(tuned)
    assert largest_step(simulation.model(), x) <= 1


def test_what_the_module_computes_is_what_its_graph_computes() -> None:
    simulation = Simulation(simulated(bayesian_mlp(), "w8a7"))
    x = torch.from_numpy(inputs(bayesian_mlp(), 10))
    train(simulation, x)
    draw = Draw.of(5, [0], range(10))
    recording = Recording(simulation.eval().graph())
    for ours, theirs in zip(
        simulation.sample(x, CountedNoise(draw)),
        recording.outputs(x, CountedNoise(draw)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_dropout_is_active_in_both_modes_and_differs_from_pass_to_pass() -> None:
    simulation, x = Simulation(simulated(mlp())), torch.from_numpy(inputs(mlp(), 8))
    for mode in (True, False):
        first, second = (simulation.train(mode)(x)[0] for _ in range(2))
        assert not torch.equal(first, second)


def test_sigma_is_trained_only_on_demand_and_may_cross_zero() -> None:
    model, x = simulated(bayesian_mlp()), torch.from_numpy(inputs(bayesian_mlp(), 30))
    for train_sigma in (False, True):
        simulation = Simulation(model, train_sigma=train_sigma)
        train(simulation, x, steps=30, lr=0.5)
        tuned = simulation.graph()
        sigmas = [
            (a, tuned.constants[v]) for v, a in model.graph.constants.items() if "sigma" in v.name
        ]
        assert sigmas
        assert any((old != new).any() for old, new in sigmas) is train_sigma
        assert any((new < 0).any() for _, new in sigmas) is train_sigma


def test_only_simulated_models_are_taken() -> None:
    with pytest.raises(CompileError, match="the model is FLOAT, not SIMULATED"):
        Simulation(Model((mlp(),), Head(Task.RAW)))
    assert simulated(mlp()).stage is Stage.SIMULATED


def test_constants_are_parameters_by_the_names_of_the_graph() -> None:
    constants = Simulation(simulated(mlp())).constants
    assert isinstance(constants, Constants)
    assert "fc1/weight" in dict(constants.named_parameters())
