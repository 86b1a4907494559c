"""Random weights that are not Gaussian, and noise elsewhere, are not supported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.ops import Normal
from qbnnc.support.errors import CompileError
from tests.frontend.bayesian import Sampled
from tests.frontend.nets import Around, Spelled
from tests.frontend.outputs import images

X = images(5, 6)


def product_of_noise(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return m.mu + m.rho * torch.randn(4, 6) * torch.randn(4, 1), None


def truncated(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return m.mu + torch.randn(4, 6).clamp(-5, 5), None


def log_normal(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return torch.exp(m.mu + torch.randn(4, 6)), None


def laplace(m: Sampled) -> tuple[Tensor, Tensor | None]:
    u = torch.rand(4, 6) - 0.5
    return m.mu - u.sign() * torch.log1p(-2 * u.abs()), None


def uniform(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return m.mu + m.rho * torch.empty(4, 6).uniform_(-1, 1), None


def random_scale(m: Sampled) -> tuple[Tensor, Tensor | None]:
    return torch.normal(m.mu, torch.randn(4, 6).abs()), None


UNSUPPORTED_WEIGHTS: dict[Callable[[Sampled], tuple[Tensor, Tensor | None]], str] = {
    product_of_noise: "not mean . scale . Gaussian noise",
    truncated: "not mean . scale . Gaussian noise",
    log_normal: "not mean . scale . Gaussian noise",
    laplace: "noise that is not Gaussian .'rand'",
    uniform: "noise that is not Gaussian .'uniform'",
    random_scale: "not mean . scale . Gaussian noise",
}


@pytest.mark.few(2)
@pytest.mark.parametrize("sample", UNSUPPORTED_WEIGHTS)
def test_unsupported_weights(sample: Callable[[Sampled], tuple[Tensor, Tensor | None]]) -> None:
    net = Around(nn.Sequential(Sampled(sample), nn.Linear(4, 6)))
    with pytest.raises(CompileError, match=UNSUPPORTED_WEIGHTS[sample]) as error:
        read_module(net.eval(), X)
    assert str(error.value).startswith("layer.0 (bayesian.py:")


class LocalReparameterisation(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.abs() * torch.randn_like(x) if self.training else x


UNSUPPORTED_PLACES = {
    "divisor": (Spelled(lambda h: h / (9 + torch.randn(6))), r"random tensor of shape \[6\]"),
    "batch norm": (
        Spelled(lambda h: F.batch_norm(h, torch.zeros(6), torch.ones(6), torch.randn(6))),
        r"its weight is random; only the weights and biases",
    ),
    "running mean": (
        Spelled(lambda h: F.batch_norm(h, torch.randn(6), torch.ones(6))),
        r"its running_mean is random; only the weights and biases",
    ),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", UNSUPPORTED_PLACES)
def test_noise_in_other_places(name: str) -> None:
    layer, message = UNSUPPORTED_PLACES[name]
    with pytest.raises(CompileError, match=message) as error:
        read_module(Around(layer.train()), X)
    assert str(error.value).startswith("layer")


def test_local_reparameterisation_in_eval_mode() -> None:
    """A layer whose noise eval() switches off, as it does with dropout, gets the same question."""
    net = Around(LocalReparameterisation()).eval()
    with pytest.raises(CompileError, match=r"^layer .*noise here, but it is switched off"):
        read_module(net, X)
    graph = read_module(net, X, dropout="off")
    assert not any(isinstance(n.op, Normal) for n in graph.nodes)
