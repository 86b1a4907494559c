"""Bayes by Backprop as people write it: layers from libraries' and tutorials' spellings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Normal

from qbnnc.frontend.torch_modes import Function, FunctionMode, Keywords
from qbnnc.ir import ops
from qbnnc.ir.graph import Graph
from qbnnc.ir.rng import Draw

Eps = list[Tensor]


class Sampled(nn.Module):
    """A linear layer with the parameters of all spellings; `sample` gives weight and bias."""

    def __init__(self, sample: Callable[[Sampled], tuple[Tensor, Tensor | None]]) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(11)
        self.mu = nn.Parameter(torch.randn(4, 6, generator=generator))
        self.rho = nn.Parameter(torch.rand(4, 6, generator=generator) - 2.0)
        self.bias_mu = nn.Parameter(torch.randn(4, generator=generator))
        self.bias_rho = nn.Parameter(torch.rand(4, generator=generator) - 2.0)
        self.eps: Tensor
        self.register_buffer("eps", torch.zeros(4, 6))
        self.sample = sample

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.sample(self)
        return F.linear(x, weight, bias)


def rsample(mean: Tensor, scale: Tensor) -> Tensor:
    drawn: Tensor = Normal(mean, scale).rsample()
    return drawn


def softplus(m: Sampled) -> tuple[Tensor, Tensor | None]:
    weight = m.mu + F.softplus(m.rho) * torch.randn_like(m.rho)
    return weight, m.bias_mu + F.softplus(m.bias_rho) * torch.randn_like(m.bias_rho)


def exponential(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return m.mu + torch.exp(m.rho) * torch.randn(4, 6), m.bias_mu


def log1p_exp(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return torch.randn(m.mu.shape).mul_(torch.log1p(torch.exp(m.rho))).add_(m.mu), None


def clamped(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return m.mu + m.rho.exp().clamp(1e-3, 0.25) * torch.randn_like(m.mu), m.bias_mu


def log_variance(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return torch.addcmul(m.mu, (0.5 * m.rho).exp(), torch.randn_like(m.mu)), m.bias_mu


def directly(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """sigma as a parameter of its own, some of it zero."""
    return m.mu + (m.rho + 1.5).clamp_min(0) * torch.randn_like(m.mu), m.bias_mu


def in_place(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """A buffer is drawn into, as bayesian-torch does."""
    return m.mu + m.rho.exp() * m.eps.data.normal_(), m.bias_mu


def scaled_noise(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """normal_() with a mean and scale of its own."""
    return m.mu + m.rho.exp() * torch.empty(4, 6).normal_(0.5, 2.0), m.bias_mu


def torch_normal(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return torch.normal(m.mu, m.rho.exp()), torch.normal(m.bias_mu, 0.125)


def distribution(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return rsample(m.mu, F.softplus(m.rho)), rsample(m.bias_mu, m.bias_rho.exp())


def transposed(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """Noise as [in, out]."""
    return m.mu + m.rho.exp() * torch.randn(6, 4).t(), m.bias_mu


def joint(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """One draw for weight and bias."""
    eps = torch.randn(28)
    bias = m.bias_mu + m.bias_rho.exp() * eps[24:]
    return m.mu + m.rho.exp() * eps[:24].view(4, 6), bias


def shared(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """One noise element a row: the elements of a row move together."""
    return m.mu + m.rho.exp() * torch.randn(4, 1), m.bias_mu


def partly(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """Half of the weight is sampled."""
    sampled = m.mu[:2] + m.rho[:2].exp() * torch.randn(2, 6)
    return torch.cat([sampled, m.mu[2:]]), m.bias_mu


def negative(m: Sampled) -> tuple[Tensor, Tensor | None]:
    """rho is negative, and taken for sigma."""
    return m.mu + m.rho * torch.randn_like(m.rho), m.bias_mu


SPELLINGS = {
    f.__name__: f
    for f in (
        softplus, exponential, log1p_exp, clamped, log_variance, directly, in_place, scaled_noise,
        torch_normal, distribution, transposed, joint, shared, partly,
    )
}  # fmt: skip


def noise_of(graph: Graph, draw: Draw) -> list[NDArray[np.float32]]:
    """The numbers of each Normal of the graph, in the order of the streams: [L, *shape]."""
    normals = [n.op for n in graph.nodes if isinstance(n.op, ops.Normal)]
    return [op.draw(draw)[:, 0] for op in sorted(normals, key=lambda op: op.stream)]


@contextmanager
def injected(noise: list[Tensor]) -> Iterator[None]:
    """Whatever draws normal noise in here takes it from the list instead."""
    with _Injected(iter(noise)):
        yield


class _Injected(FunctionMode):
    def __init__(self, noise: Iterator[Tensor]) -> None:
        super().__init__()
        self._noise = noise

    def called(self, function: Function, args: tuple[Any, ...], kwargs: Keywords) -> Any:
        if function in (torch.randn, torch.randn_like):
            return next(self._noise).clone()
        if function is torch.Tensor.normal_:
            return args[0].copy_(_scaled(next(self._noise), *args[1:]))
        if function is torch.normal:
            return _scaled(next(self._noise), *args)
        return function(*args, **kwargs)


def _scaled(eps: Tensor, mean: Tensor | float = 0.0, std: Tensor | float = 1.0) -> Tensor:
    return mean + std * eps
