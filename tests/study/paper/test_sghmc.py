"""The sampler against densities that are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qbnnc.study.paper.training.sghmc import RATE, SHAPE, Chain, ChainOptions, drawn_precision


def chain_of(n: int, rows: int, rate: float) -> tuple[nn.Parameter, Chain]:
    """n weights, all 1, and their chain."""
    theta = nn.Parameter(torch.ones(n))
    return theta, Chain([theta], rows, ChainOptions(rate))


def advance(theta: nn.Parameter, chain: Chain, curvature: float, *, burn_in: bool) -> None:
    """A step with the loss curvature * |theta|^2 / 2 a row."""
    theta.grad = curvature * theta.detach()
    chain.step(burn_in=burn_in)


@pytest.mark.few(1)
@pytest.mark.parametrize("rows", [1, 100])
def test_a_chain_has_the_variance_of_its_density(rows: int) -> None:
    """exp(-rows*c*theta^2/2 - precision*theta^2/2); the precision is about 2 for so few weights."""
    torch.manual_seed(0)
    c, n = 200.0, 20
    theta, chain = chain_of(n, rows, rate=3e-4)
    for _ in range(500):
        advance(theta, chain, c, burn_in=True)
    squares = []
    for _ in range(6000):
        advance(theta, chain, c, burn_in=False)
        squares.append(theta.detach().square().mean())
    expected = 1 / (rows * c + (SHAPE + n / 2) / RATE)
    assert torch.stack(squares).mean().item() == pytest.approx(expected, rel=0.1)


def test_a_precision_has_the_mean_of_its_gamma() -> None:
    torch.manual_seed(0)
    theta = torch.full((30,), 0.5)
    draws = torch.tensor([drawn_precision(theta) for _ in range(2000)])
    shape, rate = SHAPE + 15, RATE + 30 * 0.25 / 2
    assert draws.mean().item() == pytest.approx(shape / rate, rel=0.02)
    assert draws.std().item() == pytest.approx(shape**0.5 / rate, rel=0.1)


def test_the_masses_stay_after_the_burn_in() -> None:
    torch.manual_seed(0)
    theta, chain = chain_of(3, 10, rate=1e-4)
    advance(theta, chain, 1.0, burn_in=True)
    assert chain.squares == [pytest.approx(1.0)]  # the first gradient counts whole
    before = list(chain.squares)
    advance(theta, chain, 50.0, burn_in=False)
    assert chain.squares == before
    advance(theta, chain, 50.0, burn_in=True)
    assert chain.squares > before


def test_weights_without_gradients_follow_their_prior() -> None:
    """Half of a tensor is dead: no weight runs off, as it does with a mass for each weight."""
    torch.manual_seed(0)
    theta, chain = chain_of(200, 100, rate=1e-3)
    alive = (torch.arange(200) < 100).float()
    for i in range(3000):
        theta.grad = alive * theta.detach() + 1e-2 * alive * torch.randn(200)
        chain.step(burn_in=i < 500)
    assert float(theta.detach().abs().max() / theta.detach().std()) < 6


def test_a_tensor_without_gradients_is_not_thrown_away() -> None:
    torch.manual_seed(0)
    theta, chain = chain_of(400, 4, rate=1e-3)
    for _ in range(500):
        advance(theta, chain, 0.0, burn_in=True)
    assert 0.1 < float(theta.detach().std()) < 10
