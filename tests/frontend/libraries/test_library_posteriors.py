"""Samples of posteriors over weights, by laplace-torch and posteriors, as ensembles."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters
from torch.utils.data import DataLoader, TensorDataset

import qbnnc
from qbnnc.frontend import read_modules
from qbnnc.frontend.distribution import Subject, check_distribution
from qbnnc.frontend.distribution.samples import graph_samples
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.rng import Draw
from tests.examples import slow_but
from tests.frontend.libraries.importing import library
from tests.frontend.libraries.moments import SAMPLES, assert_same_moments

_CURVATURE = (
    "asdl asdl.fisher asdl.grad_maker asdl.gradient asdl.hessian asdl.matrices backpack "
    "backpack.context backpack.extensions curvlinops scipy scipy.cluster scipy.cluster.vq"
)


def laplace() -> ModuleType:
    pytest.importorskip("torchmetrics")  # asks for scipy, and must not find an empty one
    return library("laplace", distribution="laplace-torch", unused=_CURVATURE.split())


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(128, 6, generator=generator)
    return x, (x[:, 0] + x[:, 1] > 0).long()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).eval()


class LastLayer(nn.Module):
    """A last layer whose weights have the diagonal posterior of laplace-torch."""

    def __init__(self, net: nn.Sequential, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.body, last = net[:-1], net[-1]
        self.weight_mu, self.bias_mu = _split(mean, last)
        self.weight_sigma, self.bias_sigma = _split(scale, last)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_mu + self.weight_sigma * torch.randn_like(self.weight_mu)
        bias = self.bias_mu + self.bias_sigma * torch.randn_like(self.bias_mu)
        return nn.functional.linear(self.body(x), weight, bias)


def _split(flat: Tensor, last: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """In the order of the layer's parameters."""
    assert isinstance(last, nn.Linear)
    weight, bias = flat.detach().split([last.weight.numel(), last.bias.numel()])
    return nn.Parameter(weight.reshape(last.weight.shape).clone()), nn.Parameter(bias.clone())


def fitted(net: nn.Sequential, subset: str) -> Any:
    library_ = laplace()
    found = library_.Laplace(
        net,
        "regression",
        subset_of_weights=subset,
        hessian_structure="diag",
        backend=library_.curvature.GGNInterface,
    )
    x, y = data()
    targets = nn.functional.one_hot(y).float()
    found.fit(DataLoader(TensorDataset(x, targets), batch_size=32))
    return found


def check_members(members: list[nn.Module], x: Tensor, expected: Tensor, folder: Path) -> None:
    """Each member gives its predictions, in float, and nearly so in integers of 8 bits."""
    source = read_modules(members, x[:2])
    subjects = [
        Subject(reference, graph, graph)
        for reference, graph in zip(source.references, source.graphs, strict=True)
    ]
    assert check_distribution(subjects, x.numpy()).members == len(members)
    for graph, wanted in zip(source.graphs, expected, strict=True):
        (found,) = evaluate(graph, x.numpy(), Draw.of(0, range(1), range(len(x))))
        np.testing.assert_allclose(found[0], wanted.numpy(), rtol=1e-4, atol=1e-5)
    calibration = data()[0].numpy()
    artefact = folder / "net.qbnn"
    model = qbnnc.compile(members, artefact, calibration=calibration, bits="w8a8")
    assert len(model.members) == len(members)


@pytest.mark.few(0)
@pytest.mark.parametrize("subset", slow_but(["last_layer"], ["last_layer", "all"]))
def test_laplace_samples(subset: str, tmp_path: Path) -> None:
    """The library's own samples of predictions, from the same seed."""
    net, x = network(), data()[0][:5]
    found = fitted(net, subset)
    with torch.no_grad():
        draws = found.sample(6, generator=torch.Generator().manual_seed(4))
        expected = found.predictive_samples(
            x, pred_type="nn", n_samples=6, generator=torch.Generator().manual_seed(4)
        )
    members = list[nn.Module]()
    for draw in draws:
        member = deepcopy(net)
        into = member[-1] if subset == "last_layer" else member
        vector_to_parameters(draw, into.parameters())
        members.append(member)
    check_members(members, x, expected, tmp_path)


@pytest.mark.slow
def test_laplace_last_layer() -> None:
    """A diagonal posterior is a layer with sampled weights: 30,000 samples of the library."""
    net, x = network(), data()[0][:5]
    found = fitted(net, "last_layer")
    mean, scale = found.mean, found.posterior_scale
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        expected = found.predictive_samples(
            x, pred_type="nn", n_samples=SAMPLES, generator=generator
        )
    (member,) = read_modules([LastLayer(net, mean, scale)], x[:2]).members
    made = graph_samples(member.graph, x.numpy(), SAMPLES)
    assert_same_moments(expected.double().numpy(), made)


@pytest.mark.slow
def test_posteriors_sghmc(tmp_path: Path) -> None:
    """State_dicts along a chain of stochastic gradient Hamiltonian Monte Carlo."""
    sghmc = library(
        "posteriors.sgmcmc.sghmc",
        distribution="posteriors",
        bare=["posteriors", "posteriors.sgmcmc"],
    )
    net, (x, y) = network(), data()

    def log_posterior(parameters: Mapping[str, Tensor], batch: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.func.functional_call(net, dict(parameters), (x,))
        return -nn.functional.cross_entropy(logits, y, reduction="sum"), logits

    transform = sghmc.build(log_posterior, lr=1e-3, alpha=0.1)
    members = list[nn.Module]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = transform.init(dict(net.named_parameters()))
        for step in range(40):
            state, _ = transform.update(state, x)
            if step % 10 == 9:
                members.append(deepcopy(net))
                members[-1].load_state_dict(dict(state.params))
    with torch.no_grad():
        expected = torch.stack([member(x[:5]) for member in members])
    assert expected.std(0).min() > 1e-3
    check_members(members, x[:5], expected, tmp_path)
