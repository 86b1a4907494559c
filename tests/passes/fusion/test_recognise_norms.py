"""Normalisation by hand: which spellings become one op, and what they are then."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import AveragePool2d, Normalize
from qbnnc.ir.rng import Draw
from qbnnc.passes.fusion.recognise_norms import RecogniseNorms

G, B = torch.linspace(0.5, 2.0, 6), torch.linspace(-1.0, 1.0, 6)
Spelling = Callable[[Tensor], Tensor]


class Own(nn.Module):
    """A function as a network."""

    def __init__(self, function: Spelling) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def annotated(x: Tensor) -> Tensor:
    """The layer norm of the annotated transformer (Rush 2018)."""
    mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
    return G * (x - mean) / (std + 1e-6) + B


def channels_first(x: Tensor) -> Tensor:
    """ConvNeXt's (Liu et al. 2022)."""
    u = x.mean(1, keepdim=True)
    s = (x - u).pow(2).mean(1, keepdim=True)
    x = (x - u) / torch.sqrt(s + 1e-6)
    return torch.tensor([0.5, 2.0, 1.0])[:, None, None] * x


def by_groups(x: Tensor) -> Tensor:
    y = x.reshape(len(x), 2, -1)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + 0.1).sqrt()
    return y.view_as(x)


def by_moments(x: Tensor) -> Tensor:
    mean, square = x.mean(-1, keepdim=True), (x * x).mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt(square - mean**2 + 1e-3) * G + B


def by_var_mean(x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return (x - mean) * (variance + 1e-5) ** -0.5


def by_unsqueeze(x: Tensor) -> Tensor:
    mean, std = x.mean(-1), x.std(-1, unbiased=False)
    return (x - mean.unsqueeze(-1)) / std[..., None].clamp(min=1e-3)


def by_sums(x: Tensor) -> Tensor:
    centred = x - x.sum(-1, keepdim=True) / 6
    return centred / (centred.square().sum(-1, keepdim=True) / 6 + 0.01).sqrt()


TOKENS: dict[str, Spelling] = {
    "annotated": annotated,
    "moments": by_moments,
    "var_mean": by_var_mean,
    "unsqueeze": by_unsqueeze,
    "sums": by_sums,
    "RMS": lambda x: G * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "RMS, factor first": lambda x: G * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    "RMS by norm": lambda x: x / (x.norm(dim=-1, keepdim=True) * 6**-0.5 + 1e-8) * G,
    "F.normalize": lambda x: F.normalize(x, dim=-1),
    "F.normalize over tokens": lambda x: F.normalize(x, dim=1),
    "standard score of all": lambda x: (
        (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)
    ),
}
IMAGES: dict[str, Spelling] = {
    "channels first": channels_first,
    "groups": lambda x: by_groups(x.reshape(len(x), 4, 3, 5)).view_as(x),
    "instance": lambda x: (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 0.1),
    "F.normalize": F.normalize,
    "channels last": lambda x: F.normalize(x.permute(0, 2, 3, 1), dim=-1).permute(0, 3, 1, 2),
}
CASES = [pytest.param(f, (5, 6), id=name) for name, f in TOKENS.items()]
CASES += [pytest.param(f, (3, 4, 5), id=f"image, {name}") for name, f in IMAGES.items()]


def read(function: Spelling, shape: tuple[int, ...]) -> tuple[Graph, Tensor]:
    x = torch.randn(7, *shape, generator=torch.Generator().manual_seed(3)) * 2 + 1
    return read_module(Own(function), x), x


def norms(graph: Graph) -> list[Normalize]:
    return [node.op for node in graph.nodes if isinstance(node.op, Normalize)]


@pytest.mark.few(6)
@pytest.mark.parametrize(("function", "shape"), CASES)
def test_spellings(function: Spelling, shape: tuple[int, ...]) -> None:
    graph, x = read(function, shape)
    made = RecogniseNorms()(graph)
    assert len(norms(made)) == 1
    assert not any(isinstance(node.op, AveragePool2d) for node in made.nodes)
    (y,) = evaluate(made, x.numpy(), Draw.of(0, [0], range(len(x))))
    np.testing.assert_allclose(y[0], function(x).numpy(), rtol=2e-5, atol=2e-5)


OTHERS: dict[str, Spelling] = {
    "deviation of x, which keeps its mean": lambda x: x / (x.std(-1, keepdim=True) + 1),
    "mean square of x, which loses its mean": lambda x: (
        (x - x.mean(-1, keepdim=True)) / (x.pow(2).mean(-1, keepdim=True) + 1)
    ),
    "mean of other groups": lambda x: (x - x.mean(1, keepdim=True)) / (x.std(-1, keepdim=True) + 1),
    "deviation of another value": lambda x: (
        (x - x.mean(-1, keepdim=True)) / ((x * G).std(-1, keepdim=True) + 1)
    ),
    "absolute values": lambda x: x / (x.abs().sum(-1, keepdim=True) + 1),
    "variance itself": lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", OTHERS)
def test_other_quotients_stay(name: str) -> None:
    graph, _ = read(OTHERS[name], (5, 6))
    assert RecogniseNorms()(graph) is graph


def test_numbers_of_the_op() -> None:
    """s = v * n/(n - 1), so that 1/(sqrt(s) + e) = f/(sqrt(v) + f*e) with f^2 = (n - 1)/n."""
    graph, _ = read(annotated, (5, 6))
    (op,) = norms(RecogniseNorms()(graph))
    factor = (5 / 6) ** 0.5
    assert (op.axes, op.eps, op.centred, op.floor) == (1, 0.0, True, 0.0)
    assert op.outer_eps == pytest.approx(1e-6 * factor, rel=1e-6)


def test_a_norm_of_equal_numbers_is_0() -> None:
    graph, _ = read(TOKENS["standard score of all"], (5, 6))
    x = np.full((2, 5, 6), 3.0, np.float32)
    (y,) = evaluate(RecogniseNorms()(graph), x, Draw.of(0, [0], range(2)))
    assert not y.any()
