"""PyTorch evaluates FLOAT and SIMULATED graphs as the oracle does, random numbers included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.backends.torch import torch_samples
from qbnnc.backends.torch.forward import Evaluation
from qbnnc.backends.torch.functions import pointwise, unary
from qbnnc.backends.torch.noise import CountedNoise
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    AveragePool2d,
    BatchNorm,
    Composite,
    Function,
    MaxPool2d,
    Operation,
    Softmax,
    Step,
)
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.rng import Draw
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, simulate_model
from qbnnc.passes.ranges.calibrate import Calibration
from tests.examples import slow_but
from tests.graphs import FAMILIES, float_graphs, inputs, lenet, mlp, resnet
from tests.net import Net

NETWORKS = {"mlp": mlp, "lenet": lenet, "resnet": resnet} | FAMILIES


def assert_same(model: Model, samples: int = 3, share: float = 0.0) -> None:
    """Equal to rounding, but for `share` of the values: a code may fall on the other side."""
    x = inputs(model.graph, 5)
    count = samples if model.stochastic else len(model.members)
    ours = torch_samples(model, x, samples=count, seed=11, first_row=3)
    theirs = oracle_samples(model, x, samples=count, seed=11, first_row=3)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        far = ~np.isclose(a, b, rtol=1e-4, atol=1e-4 * (1 + np.abs(b).max()))
        assert far.mean() <= share


def model_of(graph: Graph) -> Model:
    return Model((graph,), Head(Task.RAW))


@pytest.mark.parametrize("name", list(NETWORKS))
def test_float_networks(name: str) -> None:
    assert_same(model_of(NETWORKS[name]()))


@pytest.mark.parametrize("name", slow_but(["mlp"], NETWORKS))
@pytest.mark.parametrize("bits", ["w8a7", "w3a3"])
def test_simulated_networks(name: str, bits: str) -> None:
    model = model_of(NETWORKS[name]())
    options = Options(Quantisation(Bits.parse(bits)), calibration=Calibration(passes=2))
    assert_same(simulate_model(model, inputs(model.graph, 20), options), share=0.02)


@given(float_graphs())
def test_random_float_graphs(graph: Graph) -> None:
    assert_same(model_of(graph))


def test_what_does_not_vary_is_computed_once_and_kept_if_it_is_needed() -> None:
    """lenet's dropout reads pool1; what was before that is not kept."""
    graph, known = lenet(), dict[Value, torch.Tensor]()
    constants = {v: torch.from_numpy(a.copy()) for v, a in graph.constants.items()}
    evaluation, x = Evaluation(graph, constants.__getitem__), torch.from_numpy(inputs(graph, 5))
    draws = [CountedNoise(Draw.of(0, [sample], range(5))) for sample in range(2)]
    first, second = (evaluation.outputs(x, noise, known)[0] for noise in draws)
    assert [value.name for value in known] == ["pool1"]
    assert torch.equal(first, evaluation.outputs(x, draws[0])[0])
    assert torch.equal(second, evaluation.outputs(x, draws[1])[0])
    (output,) = evaluation.outputs(0 * x, draws[1], known)
    assert torch.equal(second, output)


def test_an_output_that_does_not_vary_is_kept() -> None:
    net = Net((6,)).linear(4, "first")
    fixed = net.value
    assert_same(model_of(net.dropout(0.3, "drop").linear(2, "last").graph(fixed, net.value)))
    assert_same(model_of(net.graph(fixed)))


def test_an_ensemble_gives_its_members_in_turn() -> None:
    assert_same(Model((mlp(0), mlp(1), mlp(2)), Head(Task.RAW), draws=2), samples=6)


@pytest.mark.few(6)
@pytest.mark.parametrize("function", list(Function))
def test_unary_functions(function: Function) -> None:
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    ours = unary(function, 0.3, torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, function(x.astype(np.float64), 0.3), rtol=1e-5, atol=1e-6)


def test_a_composite_of_every_operation() -> None:
    x = np.linspace(-3, 3, 101, dtype=np.float32)
    op = Composite(
        (
            Step(Operation.FUNCTION, (0,), (0.5,), Function.ABOVE),
            Step(Operation.AFFINE, (0,), (-2.0, 0.25)),
            Step(Operation.LOWER_BOUND, (2,), (-1.5,)),
            Step(Operation.UPPER_BOUND, (3,), (3.0,)),
            Step(Operation.MULTIPLY, (4, 0)),
            Step(Operation.ADD, (5, 2)),
            Step(Operation.WHERE, (1, 6, 4)),
        )
    )
    wide = -2.0 * x.astype(np.float64) + 0.25
    bounded = np.clip(wide, -1.5, 3.0)
    wanted = np.where(x > 0.5, bounded * x + wide, bounded)
    np.testing.assert_allclose(op.of(x), wanted, rtol=1e-6)
    ours = pointwise(op, torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-6)


@given(
    st.sampled_from([(2, 2), (3, 2), (2, 3)]),
    st.sampled_from([(1, 1), (2, 1), (2, 2)]),
    st.sampled_from([(0, 0, 0, 0), (1, 0, 1, 1)]),
    st.sampled_from([(1, 1), (2, 1)]),
    st.booleans(),
)
def test_pools(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    include: bool,
) -> None:
    geometry = (kernel, stride, padding, dilation)
    for op in (MaxPool2d(*geometry), AveragePool2d(*geometry, count_include_pad=include)):
        assert_same(model_of(Net((2, 7, 6)).conv(2, 1, "conv").emit(op, name="pool").graph()))


@pytest.mark.parametrize("log", [True, False])
def test_normalisation_and_softmax(log: bool) -> None:
    net = Net((4,)).batch_norm("bn").linear(3, "fc").emit(Softmax(0, log), name="softmax")
    graph = net.graph()
    assert any(isinstance(node.op, BatchNorm) for node in graph.nodes)
    assert_same(model_of(graph))
