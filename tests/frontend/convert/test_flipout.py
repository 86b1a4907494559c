"""Flipout layers have the distribution of sampled weights for each row, and compile as these."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module, read_modules
from qbnnc.frontend.distribution import Subject, check_distribution
from qbnnc.ir.check import check
from qbnnc.ir.ops import Conv2d, Linear, Multiply, Noise, Normal, SampledWeight
from qbnnc.support.errors import CompileError
from tests.examples import slow_but
from tests.frontend.convert.test_sampled_weights import constants
from tests.frontend.nets import Around, Spelled
from tests.frontend.outputs import images


class Flipout(nn.Module):
    """Wen et al. 2018, equation (4)."""

    def __init__(self, signs: str = "uniform", *, bias: bool = True) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.mu = nn.Parameter(torch.randn(4, 6, generator=generator))
        self.sigma = nn.Parameter(torch.rand(4, 6, generator=generator))
        self.bias = nn.Parameter(torch.randn(4, generator=generator)) if bias else None
        self.signs = signs

    def _signs(self, like: Tensor) -> Tensor:
        match self.signs:
            case "uniform":
                return torch.empty_like(like).uniform_(-1, 1).sign()
            case "normal":
                return torch.sign(torch.randn_like(like))
            case _:
                return 2 * torch.bernoulli(torch.full_like(like, 0.5)) - 1

    def forward(self, x: Tensor) -> Tensor:
        mean = F.linear(x, self.mu, self.bias)
        noise = self.sigma * torch.randn_like(self.sigma)
        bias = None if self.bias is None else 0.25 * torch.randn(4)
        added = F.linear(x * self._signs(x), noise, bias)
        return mean + added * self._signs(mean)


@pytest.mark.few(1)
@pytest.mark.parametrize("signs", slow_but(["normal"], ["uniform", "normal"]))
@pytest.mark.parametrize("bias", [False, True])
def test_linear(signs: str, bias: bool) -> None:
    layer = Flipout(signs, bias=bias)
    graph = read_module(layer, images(2, 6))
    check(graph)
    found = constants(graph)
    np.testing.assert_array_equal(found["linear.weight.mu"], layer.mu.detach().numpy())
    np.testing.assert_allclose(found["linear.weight.sigma"], layer.sigma.detach(), rtol=1e-6)
    assert ("linear.bias.sigma" in found) == bias
    kinds = [type(n.op) for n in graph.nodes]
    assert kinds == [Normal, SampledWeight] * (1 + bias) + [Linear]
    assert [n.op.stream for n in graph.nodes if isinstance(n.op, Normal)] == [*range(1 + bias)]


@pytest.mark.few(0)
def test_the_law_of_a_row_is_that_of_sampled_weights() -> None:
    """Covariance of the outputs: diagonal, sum of sigma^2 x^2, plus that of the bias."""
    layer, x = Flipout(), images(1, 6)
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = torch.cat([layer(x) for _ in range(20_000)]).numpy()
        expected = (layer.sigma.square() @ x[0].square() + 0.0625).numpy()
    np.testing.assert_allclose(np.cov(outputs.T), np.diag(expected), atol=0.08 * expected.max())


def test_signs_of_channels() -> None:
    mu, sigma = torch.randn(3, 2, 2, 2), torch.rand(3, 2, 2, 2)

    def layer(x: Tensor) -> Tensor:
        into = torch.randn(len(x), 2, 1, 1).sign()
        out = torch.randn(len(x), 3, 1, 1).sign()
        return F.conv2d(x, mu, padding=1) + out * F.conv2d(
            into * x, sigma * torch.randn(3, 2, 2, 2), padding=1
        )

    graph = read_module(Spelled(layer), images(2, 2, 5, 5))
    assert [type(n.op) for n in graph.nodes] == [Normal, SampledWeight, Conv2d]
    np.testing.assert_array_equal(constants(graph)["conv2d.weight.mu"], mu.numpy())


@pytest.mark.few(1)
@pytest.mark.parametrize("order", ["added", "added before", "subtracted"])
def test_a_perturbation_may_be_subtracted(order: str) -> None:
    """The distribution is symmetric, so that the sign makes no difference."""
    mu, sigma = torch.randn(4, 6), torch.rand(4, 6)

    def layer(x: Tensor) -> Tensor:
        mean = F.linear(x, mu)
        noise = F.linear(x * signs(x), sigma * torch.randn(4, 6)) * signs(mean)
        match order:
            case "added":
                return mean + noise
            case "added before":
                return noise + mean
            case _:
                return mean - noise

    graph = read_module(Spelled(layer), images(2, 6))
    assert [type(n.op) for n in graph.nodes] == [Normal, SampledWeight, Linear]
    np.testing.assert_array_equal(constants(graph)["linear.weight.mu"], mu.numpy())


def pixels(x: Tensor) -> Tensor:
    image = x.reshape(-1, 1, 2, 3)
    noise = F.conv2d(image * torch.randn_like(image).sign(), torch.randn(1, 1, 1, 1))
    return F.conv2d(image, torch.ones(1, 1, 1, 1)) + noise * torch.randn_like(noise).sign()


def signs(x: Tensor) -> Tensor:
    return torch.randn_like(x).sign()


def of(weight: float) -> Tensor:
    return torch.full((6, 6), weight)


def perturbation(h: Tensor, noise: Tensor, into: Tensor, out: Tensor) -> Tensor:
    return F.linear(h, of(0.5)) + F.linear(h * into, noise) * out


def steps(h: Tensor, *, again: bool) -> Tensor:
    """One weight for a sequence of two steps, the signs drawn once or in each step."""
    noise, into, out = torch.randn(6, 6), signs(h), signs(h)
    first = perturbation(h, noise, into, out).relu()
    return perturbation(first, noise, *((into, out) if again else (signs(h), signs(h))))


def sampled_mean(h: Tensor) -> Tensor:
    weight = of(0.5) + torch.randn(6, 6)
    return h @ weight.t() + F.linear(h * signs(h), torch.randn(6, 6)) * signs(h)


def used_without_signs(h: Tensor) -> Tensor:
    noise = torch.randn(6, 6)
    return perturbation(h, noise, signs(h), signs(h)) + F.linear(h, noise)


def test_signs_of_pixels_are_drawn() -> None:
    graph = read_module(Spelled(lambda x: pixels(x).flatten(1)), images(2, 6))
    drawn = [n.op.shape for n in graph.nodes if isinstance(n.op, Noise)]
    assert drawn == [(1, 2, 3), (1, 2, 3)]
    assert sum(isinstance(n.op, Multiply) for n in graph.nodes) == 2


UNSUPPORTED = {
    "signs of each step": (lambda h: steps(h, again=False), "used again with other signs"),
    "sampled mean": (sampled_mean, "random already"),
    "used without signs": (used_without_signs, "used again with other signs, or without"),
    "means": (lambda h: F.linear(h * signs(h), of(1.0)), "but its weights have a mean"),
    "no signs out": (
        lambda h: F.linear(h, of(1.0)) + F.linear(h * signs(h), torch.randn(6, 6)),
        "signs on the output",
    ),
    "another input": (
        lambda h: F.linear(h + 1, of(1.0)) + F.linear(h * signs(h), torch.randn(6, 6)) * signs(h),
        "other than the same layer",
    ),
    "signs for all rows": (
        lambda h: F.linear(h * torch.randn(6).sign(), torch.randn(6, 6)), "layer",
    ),
}  # fmt: skip


def test_signs_drawn_once_for_all_steps() -> None:
    graph = read_module(Spelled(lambda h: steps(h, again=True)), images(2, 6))
    assert sum(isinstance(n.op, Normal) for n in graph.nodes) == 1
    assert sum(isinstance(n.op, SampledWeight) for n in graph.nodes) == 1  # read by both steps


@pytest.mark.few(1)
@pytest.mark.parametrize("name", slow_but([*UNSUPPORTED][:2], UNSUPPORTED))
def test_not_supported(name: str) -> None:
    layer, message = UNSUPPORTED[name]
    with pytest.raises(CompileError, match=message) as error:
        read_module(Around(Spelled(layer)), images(2, 6))
    assert str(error.value).startswith("layer")


@pytest.mark.few(1)
@pytest.mark.parametrize("bias", [False, True])
def test_signs_of_a_mask_are_kept_as_masks(bias: bool) -> None:
    """2 * bernoulli - 1 is a sum of masks: the graph is the module, row by row."""
    layer = Flipout("bernoulli", bias=bias)
    (member,) = read_modules([layer], images(2, 6)).members
    subject = Subject(member.reference, member.graph, member.graph)
    assert check_distribution([subject], images(8, 6).numpy()).skipped == ()
