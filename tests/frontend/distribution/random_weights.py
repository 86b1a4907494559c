"""Random spellings of layers whose weights are sampled: tied, sliced, transposed, negated."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from tests.frontend.distribution.random_masks import Memory, Step


class Gaussian(nn.Module):
    """Means and scales of a weight [N, K, ..] and a bias [N]."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        fan_in = max(1, torch.Size(shape[1:]).numel())
        self.mu = nn.Parameter(torch.randn(shape) / fan_in**0.5)
        self.rho = nn.Parameter(-2.0 + 0.3 * torch.randn(shape))
        self.bias_mu = nn.Parameter(0.1 * torch.randn(shape[0]))
        self.bias_rho = nn.Parameter(-2.0 + 0.3 * torch.randn(shape[0]))

    @property
    def sigma(self) -> Tensor:
        return F.softplus(self.rho)


Sample = Callable[[Gaussian], tuple[Tensor, Tensor | None]]


def _sliced(g: Gaussian) -> tuple[Tensor, Tensor]:
    """Weight and bias of one draw."""
    eps = torch.randn(g.mu.numel() + g.bias_mu.numel())
    weight, bias = eps[: g.mu.numel()], eps[g.mu.numel() :]
    return g.mu + g.sigma * weight.view_as(g.mu), g.bias_mu + 0.1 * bias


def _one_row(g: Gaussian) -> tuple[Tensor, None]:
    """One noise element for all weights of an output."""
    eps = torch.randn(len(g.mu), *[1] * (g.mu.ndim - 1))
    return g.mu + g.sigma * eps, None


def _in_place(g: Gaussian) -> tuple[Tensor, Tensor]:
    eps = torch.empty_like(g.mu).normal_()
    return g.mu + torch.exp(g.rho) * eps, g.bias_mu.expand_as(g.bias_mu)


def _mixed_signs(g: Gaussian) -> tuple[Tensor, Tensor]:
    """Scales of either sign, and a bias that shares noise with the weight."""
    eps = torch.randn_like(g.mu)
    return g.mu + 0.1 * g.rho.sin() * eps, g.bias_mu - 0.1 * eps.flatten(1)[:, 0]


SAMPLES: dict[str, Sample] = {
    "softplus": lambda g: (g.mu + g.sigma * torch.randn_like(g.mu), g.bias_mu),
    "exp": lambda g: (torch.exp(g.rho) * torch.randn(g.mu.shape) + g.mu, None),
    "rsample": lambda g: (Normal(g.mu, g.sigma).rsample(), Normal(g.bias_mu, 0.1).rsample()),
    "sample": lambda g: (Normal(g.mu, g.sigma).sample(), None),
    "torch.normal": lambda g: (torch.normal(g.mu, g.sigma), g.bias_mu),
    "normal_": _in_place,
    "minus": lambda g: (g.mu - g.sigma * torch.randn_like(g.mu), g.bias_mu),
    "one draw sliced": _sliced,
    "transposed": lambda g: (
        g.mu + g.sigma * torch.randn(tuple(reversed(g.mu.shape))).permute(
            *reversed(range(g.mu.ndim))
        ),
        None,
    ),
    "flipped": lambda g: (g.mu + g.sigma * torch.randn_like(g.mu).flip(0), None),
    "one for a row": _one_row,
    "signed": _mixed_signs,
    "bias alone": lambda g: (g.mu, g.bias_mu + g.bias_rho.exp() * torch.randn_like(g.bias_mu)),
    "log variance": lambda g: (
        g.mu + torch.exp(0.5 * 2 * g.rho) * torch.randn_like(g.mu), g.bias_mu,
    ),
    "negated": lambda g: (-(g.mu + g.sigma * torch.randn_like(g.mu)), g.bias_mu),
    "multiplicative": lambda g: (g.mu * (1 + 0.2 * torch.randn_like(g.mu)), g.bias_mu),
}  # fmt: skip


def sampled_layer(rng: Random, shape: tuple[int, ...]) -> tuple[str, Gaussian, Step]:
    """A linear layer, Conv1d or Conv2d (by the rank of its weight) whose weight is sampled."""
    holder, square = Gaussian(shape), shape[0] == shape[1]
    how, sample = rng.choice(list(SAMPLES.items()))
    use = rng.choice(["once", "once", "siamese", "two heads", "tied"])
    if use == "tied" and not square:
        use = "siamese"

    def step(h: Tensor, memory: Memory) -> Tensor:
        w, b = sample(holder)
        first = _apply(h, w, b)
        match use:
            case "siamese":
                return first - 0.5 * _apply(torch.relu(h - 0.3), w, b)
            case "two heads":
                return first + torch.tanh(-0.7 * _apply(h, w, None))
            case "tied":
                return _apply(torch.relu(first), w.transpose(0, 1), None)
            case _:
                return first

    return f"sampled {how}, {use}", holder, step


def _apply(h: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    match w.ndim:
        case 2:
            return F.linear(h, w, b)
        case 3:
            return F.conv1d(h, w, b, padding=w.shape[-1] // 2)
        case _:
            return F.conv2d(h, w, b, padding=w.shape[-1] // 2)
