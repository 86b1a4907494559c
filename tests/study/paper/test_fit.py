"""Objectives and loops, the Gaussian layers, and the figures that are printed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from qbnnc.study.paper.training.figures import classification_line, regression_line, samples
from qbnnc.study.paper.training.fit import (
    cross_entropy,
    divergence,
    fit,
    gaussian_nll,
    sample,
    weights_of,
)
from qbnnc.study.paper.training.recipes import LENET, ChainRecipe, Recipe, scaled
from tools.models import MLP, MLP_BBB, BBBConv2d, BBBLayer, BBBLinear


def test_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    net, prior = MLP_BBB(3, hidden=4, sigma=0.2), 0.5
    expected = torch.zeros(())
    for layer in net.modules():
        if isinstance(layer, BBBLayer):
            q = torch.distributions.Normal(layer.weight_mu, layer.sigma())
            p = torch.distributions.Normal(0.0, prior)
            expected = expected + torch.distributions.kl_divergence(q, p).sum()
    assert divergence(net, prior).item() == pytest.approx(expected.item(), rel=1e-5)
    assert divergence(MLP(3), prior).item() == 0


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(BBBLinear(6, 2, sigma=0.3), (6,)), (BBBConv2d(2, 3, 2, sigma=0.3), (2, 3, 3))],
)
def test_local_reparameterisation_has_the_moments_of_sampled_weights(
    layer: BBBLayer, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    x, count = torch.randn(1, *shape), 1500
    with torch.no_grad():
        local = layer.train()(x.expand(count, *shape))  # noise of its own for each row
        layer.eval()
        sampled = torch.cat([layer(x) for _ in range(count)])
    assert float(((local.mean(0) - sampled.mean(0)) / sampled.std(0)).abs().max()) < 0.15
    assert float((local.std(0) / sampled.std(0) - 1).abs().max()) < 0.1


def line(n: int) -> tuple[Tensor, Tensor]:
    x = torch.linspace(-1, 1, n)[:, None]
    return x, 2 * x + 0.1 * torch.randn(n, 1)


@pytest.mark.few(1)
@pytest.mark.parametrize("net", [MLP, MLP_BBB])
def test_fit_learns_a_line(net: type[MLP] | type[MLP_BBB]) -> None:
    torch.manual_seed(0)
    x, y = line(128)
    model = net(1, hidden=16)
    kl_weight = 0.01 if net is MLP_BBB else 0.0
    fit(model, gaussian_nll, x, y, Recipe(40, 32, 1e-2, kl_weight=kl_weight))
    outputs = samples(model, [weights_of(model)], x)
    assert float((outputs[0].mean(0) - y).square().mean().sqrt()) < 0.3


def test_a_chain_gives_different_members_that_know_the_line() -> None:
    torch.manual_seed(0)
    x, y = line(128)
    model = MLP(1, hidden=16)
    members = sample(model, gaussian_nll, x, y, ChainRecipe(40, 2, 32, 1e-4, members=5))
    assert len(members) == 5
    assert all(not torch.equal(members[0]["mu.weight"], m["mu.weight"]) for m in members[1:])
    mu, _ = samples(model, members, x)
    assert mu.shape == (5, 128, 1)
    assert float((mu.mean(0) - y).square().mean().sqrt()) < 0.4


def test_cross_entropy_of_a_network() -> None:
    net = nn.Linear(2, 2, bias=False)
    net.weight.data = torch.eye(2)
    loss = cross_entropy(net, torch.tensor([[3.0, 0.0]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(math.log1p(math.exp(3)))


def test_regression_line_counts_both_uncertainties() -> None:
    mu = torch.tensor([[[1.0]], [[3.0]]], dtype=torch.float64)  # mean 2, variance 1
    log_var = torch.full_like(mu, math.log(3))
    text = regression_line((mu, log_var), torch.tensor([[0.0]]))
    nll = 0.5 * (math.log(2 * math.pi * 4) + 4 / 4)
    assert text == f"RMSE 2.000, NLL {nll:.3f} (standardised)"


def test_classification_line_averages_probabilities() -> None:
    logits = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]], dtype=torch.float64).log()  # mean .7, .3
    ood = torch.zeros(2, 1, 2, dtype=torch.float64)
    text = classification_line(logits, torch.tensor([1]), ood)
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    nll = -math.log(0.3)
    expected = f"error 100.00 %, NLL {nll:.3f}, aPE {entropy:.3f}, OOD aPE 0.693 nats"
    assert text == expected


def test_scaled_recipes_keep_their_members() -> None:
    chain, adam = scaled(LENET["sghmc"], 0.01), scaled(LENET["mcd"], 0.5)
    assert isinstance(chain, ChainRecipe)
    assert (chain.burn_in, chain.spacing, chain.epochs) == (1, 1, 21)
    assert isinstance(adam, Recipe)
    assert isinstance(LENET["mcd"], Recipe)
    assert adam.epochs * 2 == LENET["mcd"].epochs
