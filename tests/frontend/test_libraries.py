"""Layers of bayesian-torch and torchbnn on given noise; tests/frontend/libraries has the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Noise, Normal
from qbnnc.support.errors import CompileError
from tests.examples import slow_but
from tests.frontend.bayesian import injected
from tests.frontend.convert.test_sampled_weights import assert_same_with_noise
from tests.frontend.libraries.layers import WithoutKL, bayesian_torch, torchbnn
from tests.frontend.nets import randomise_batch_norm
from tests.frontend.outputs import images, outputs_of


def assert_same_mean(net: nn.Module, x: Tensor) -> Graph:
    """The library's own forward with noise 0 gives what the graph gives with scales 0."""
    net.eval()
    graph = read_module(net, x[:2])
    check(graph)
    zeros = {
        value: array * (not value.name.endswith(".sigma"))
        for value, array in graph.constants.items()
    }
    (output,) = outputs_of(replace(graph, constants=zeros), x)
    noise = [torch.zeros(n.op.shape) for n in graph.nodes if isinstance(n.op, Normal)]
    with torch.no_grad(), injected(noise):
        np.testing.assert_allclose(output, net(x).numpy(), rtol=1e-5, atol=1e-5)
    assert noise
    return graph


LAYERS: dict[str, tuple[Callable[[ModuleType], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda b: b.LinearReparameterization(6, 3), (6,)),
    "linear without bias": (lambda b: b.LinearReparameterization(6, 3, bias=False), (6,)),
    "conv1d": (lambda b: b.Conv1dReparameterization(2, 3, 3), (2, 7)),
    "conv2d": (lambda b: b.Conv2dReparameterization(2, 4, 3, 2, 1, groups=2), (2, 6, 6)),
    "transposed": (lambda b: b.ConvTranspose2dReparameterization(2, 3, 2, 2), (2, 3, 3)),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", slow_but(["linear", "conv2d"], LAYERS))
def test_bayesian_torch(name: str) -> None:
    make, shape = LAYERS[name]
    net = WithoutKL(make(bayesian_torch()))
    assert_same_with_noise(net, images(3, *shape))
    assert_same_mean(net, images(3, *shape))


@pytest.mark.few(1)
@pytest.mark.parametrize("bias", [True, False])
def test_bayesian_torch_flipout(bias: bool) -> None:
    net = WithoutKL(bayesian_torch().LinearFlipout(6, 3, bias=bias))
    assert_same_mean(net, images(3, 6))


@pytest.mark.few(0)
def test_bayesian_torch_flipout_of_pixels() -> None:
    """Signs for each pixel are drawn: that of the input, and that of the output."""
    net = WithoutKL(bayesian_torch().Conv2dFlipout(2, 3, 3))
    graph = read_module(net.eval(), images(2, 2, 6, 6))
    drawn = [n.op.shape for n in graph.nodes if isinstance(n.op, Noise)]
    assert drawn == [(2, 6, 6), (3, 4, 4)]


@pytest.mark.few(0)
def test_dnn_to_bnn() -> None:
    library = bayesian_torch("models.dnn_to_bnn")
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    )
    randomise_batch_norm(net)
    prior = {
        "prior_mu": 0.0,
        "prior_sigma": 1.0,
        "posterior_mu_init": 0.0,
        "posterior_rho_init": -3.0,
        "type": "Reparameterization",
        "moped_enable": True,
        "moped_delta": 0.5,
    }
    library.dnn_to_bnn(net, prior)
    graph = assert_same_with_noise(net, images(3, 1, 6, 6))
    assert_same_mean(net, images(3, 1, 6, 6))
    assert sum(isinstance(n.op, Normal) for n in graph.nodes) == 4


@pytest.mark.few(0)
def test_torchbnn() -> None:
    bnn = torchbnn()
    net = nn.Sequential(
        bnn.BayesConv2d(0.0, 0.1, 1, 2, 3),
        nn.ReLU(),
        nn.Flatten(),
        bnn.BayesLinear(0.0, 0.1, 32, 3),
    )
    graph = assert_same_with_noise(net, images(3, 1, 6, 6))
    assert_same_mean(net, images(3, 1, 6, 6))
    assert [n.op.stream for n in graph.nodes if isinstance(n.op, Normal)] == [0, 1, 2, 3]


def test_torchbnn_random_batch_norm() -> None:
    bnn = torchbnn()
    net = nn.Sequential(bnn.BayesConv2d(0.0, 0.1, 1, 2, 3), bnn.BayesBatchNorm2d(0.0, 0.1, 2))
    with pytest.raises(CompileError, match=r"^1 \(.*its weight is random; only the weights"):
        read_module(net.eval(), images(2, 1, 6, 6))
