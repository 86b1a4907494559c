"""Random numbers of the batch's size become noise on activations: each row draws its own."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, distributions

from qbnnc.frontend import read_module, read_modules
from qbnnc.frontend.distribution import Subject, check_distribution
from qbnnc.frontend.trace.any_batch import trace_for_any_batch
from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Distribution, KeepMask, Noise
from tests.frontend.nets import Around, Spelled
from tests.frontend.outputs import images

Function = Callable[[Tensor], Tensor]
X = images(5, 6)
SCALES = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
MEANS = torch.tensor([1.0, 0.9, 1.1, 1.2, 0.8, 1.3])


def graph_of(function: Function, x: Tensor = X) -> Graph:
    graph = read_module(Spelled(function).eval(), x)
    check(graph)
    return graph


def lines(graph: Graph) -> list[str]:
    """The text of each node without types and places; numbers take the place of constants."""
    found = list[str]()
    for node in graph.nodes:
        (line,) = (t for t in str(graph).splitlines() if t.startswith(f"  %{node.output.name}:"))
        text = re.sub(r"^  %([^:]*):.*? = ", r"\1 = ", line).split("  #")[0]
        for value, array in graph.constants.items():
            shown = "[...]" if array.size > 1 else f"{float(array.reshape(-1)[0]):g}"
            text = re.sub(rf"%{re.escape(value.name)}(?=[,)])", shown, text)
        found.append(text.replace("%", ""))
    return found


def noise_of(graph: Graph) -> list[Noise]:
    return [node.op for node in graph.nodes if isinstance(node.op, Noise)]


def test_gaussian_dropout_as_text() -> None:
    graph = graph_of(lambda x: x * (1 + 0.5 * torch.randn_like(x)))
    assert lines(graph) == [
        "randn_like.noise = noise() distribution=normal shape=[6] stream=0",
        "mul = affine(randn_like.noise, 0.5, 0)",
        "add = affine(mul, 1, 1)",
        "mul.2 = multiply(x, add)",
    ]


def test_functions_of_noise_are_one_chain_of_functions_of_one_element() -> None:
    graph = graph_of(lambda x: x - 0.25 * torch.log(-torch.log(torch.rand_like(x) + 0.0625)))
    assert lines(graph) == [
        "rand_like.noise = noise() distribution=uniform shape=[6] stream=0",
        "rand_like = affine(rand_like.noise, 1, 0.0625)",
        "log = unary(rand_like) function=log",
        "neg = affine(log, -1, 0)",
        "log.2 = unary(neg) function=log",
        "mul = affine(log.2, 0.25, 0)",
        "sub.scaled = affine(mul, -1, 0)",
        "sub = add(x, sub.scaled)",
    ]


def test_a_scale_for_each_channel_is_an_affine_after_the_noise() -> None:
    graph = graph_of(lambda x: x + SCALES * torch.randn_like(x))
    assert lines(graph) == [
        "randn_like.noise = noise() distribution=normal shape=[6] stream=0",
        "mul = affine(randn_like.noise, [...], 0)",
        "add = add(x, mul)",
    ]


def test_numbers_between_two_ends_and_a_pooled_mask_as_text() -> None:
    graph = graph_of(lambda x: x + torch.empty_like(x).uniform_(-1, 3))
    assert lines(graph)[:2] == [
        "uniform.noise = noise() distribution=uniform shape=[6] stream=0",
        "uniform = affine(uniform.noise, 4, -1)",
    ]

    def block(x: Tensor) -> Tensor:
        seeds = torch.bernoulli(torch.full_like(x, 0.25))
        return x * (1 - F.max_pool2d(seeds, 3, 1, 1))

    assert lines(graph_of(block, images(2, 1, 4, 4))) == [
        "bernoulli.noise = noise() distribution=uniform shape=[1, 4, 4] stream=0",
        "bernoulli = unary(bernoulli.noise) function=at_least parameter=0.75",
        "max_pool2d = max_pool2d(bernoulli) kernel=[3, 3] stride=[1, 1] padding=[1, 1, 1, 1]",
        "rsub = affine(max_pool2d, -1, 1)",
        "mul = multiply(x, rsub)",
    ]


def one_a_channel(x: Tensor) -> Tensor:
    return x.view(-1, 2, 3, 1) * (1 + torch.randn(len(x), 2, 1, 1))


SHAPES: dict[str, tuple[Function, tuple[int, ...]]] = {
    "of the rows": (lambda x: x + torch.randn_like(x), (6,)),
    "one a row": (lambda x: x * torch.randn(len(x), 1), (1,)),
    "one a row, without an axis": (lambda x: x * torch.randn(len(x))[:, None], ()),
    "one a channel": (one_a_channel, (2, 1, 1)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_noise_has_the_shape_that_is_drawn(name: str) -> None:
    function, shape = SHAPES[name]
    assert noise_of(graph_of(function)) == [Noise(Distribution.NORMAL, shape, 0)]


def test_one_draw_is_one_stream_and_streams_follow_execution() -> None:
    def twice(x: Tensor) -> Tensor:
        first, second = torch.rand_like(x), torch.randn_like(x)
        return x * second + first + second.exp()

    assert noise_of(graph_of(twice)) == [
        Noise(Distribution.NORMAL, (6,), 1),
        Noise(Distribution.UNIFORM, (6,), 0),
    ]


def test_noise_that_nothing_reads_is_not_drawn() -> None:
    def unused(x: Tensor) -> Tensor:
        torch.randn_like(x)
        return x + torch.randn_like(x).new_zeros(x.shape) + torch.rand_like(x)

    assert noise_of(graph_of(unused)) == [Noise(Distribution.UNIFORM, (6,), 0)]


def test_masks_stay_masks_beside_noise() -> None:
    def both(x: Tensor) -> Tensor:
        return x + (torch.rand_like(x) < 0.25) * torch.randn_like(x)

    graph = graph_of(both)
    assert [n.op for n in graph.nodes if isinstance(n.op, KeepMask)] == [KeepMask((6,), 0.75, 0)]
    assert noise_of(graph) == [Noise(Distribution.NORMAL, (6,), 1)]


def test_elements_of_each_row_are_the_users_own() -> None:
    """A batch of 3 draws 3 x 6 numbers, row after row."""
    traced = trace_for_any_batch(Spelled(lambda x: x + torch.randn_like(x)), X[:3], None)
    (source,) = traced.draws
    assert source.elements is not None
    np.testing.assert_array_equal(source.elements[0].numpy(), np.arange(18).reshape(3, 6))


def concrete(x: Tensor) -> Tensor:
    """Gal, Hron, Kendall 2017, with the temperature 0.1."""
    u, p, tiny = torch.rand_like(x), torch.tensor(0.3), 1e-7
    odds = torch.log(p + tiny) - torch.log(1 - p + tiny)
    drop = torch.sigmoid((odds + torch.log(u + tiny) - torch.log(1 - u + tiny)) / 0.1)
    return x * (1 - drop) / (1 - p)


def drop_block(x: Tensor) -> Tensor:
    """DropBlock with the count of each row."""
    h = F.pad(x, (0, 3)).view(len(x), 1, 3, 3)
    blocks = F.max_pool2d(torch.bernoulli(torch.full_like(h, 0.1)), 3, 1, 1)
    count = (1 - blocks).sum((1, 2, 3), keepdim=True)
    return (h * (1 - blocks) * 9 / (count + 1)).flatten(1)[:, :6]


def local(x: Tensor) -> Tensor:
    """Kingma, Salimans, Welling 2015, section 2.3."""
    weight = torch.linspace(-1, 1, 36).view(6, 6)
    mean, variance = F.linear(x, weight), F.linear(x**2, (0.3 * weight) ** 2)
    return mean + torch.sqrt(variance + 1e-16) * torch.randn_like(mean)


def local_convolution(x: Tensor) -> Tensor:
    weight, image = torch.linspace(-1, 1, 18).view(2, 1, 3, 3), x.view(-1, 1, 2, 3)
    mean = F.conv2d(image, weight, padding=1)
    variance = F.conv2d(image**2, (0.3 * weight) ** 2, padding=1)
    return (mean + torch.sqrt(variance + 1e-16) * torch.randn_like(mean)).flatten(1)[:, :6]


def latent(x: Tensor) -> Tensor:
    mean, logarithm = torch.tanh(x[:, :3]), torch.sigmoid(x[:, 3:])
    z = mean + torch.exp(0.5 * logarithm) * torch.randn_like(mean)
    return torch.cat([z, z**2], 1)


def low_rank(x: Tensor) -> Tensor:
    """Collier et al. 2021: a factor of the covariance from the input, times noise of each row."""
    factor = torch.tanh(x[:, :, None] * torch.linspace(-1, 1, 3))
    return x + torch.bmm(factor, torch.randn(len(x), 3, 1)).squeeze(-1)


def weights_of_rows(x: Tensor) -> Tensor:
    """DropConnect with weights that each row drops for itself."""
    weight = torch.linspace(-1, 1, 36).view(6, 6) * (torch.rand(len(x), 6, 6) > 0.25)
    return torch.einsum("bi,boi->bo", x, weight)


D = distributions
COUPLED: dict[str, Function] = {
    "Gaussian dropout": lambda x: x * (1 + 0.3 * torch.randn_like(x)),
    "torch.normal": lambda x: x * torch.normal(1.0, 0.3, x.shape),
    "normal_": lambda x: x * torch.empty_like(x).normal_(1.0, 0.3),
    "Normal.rsample": lambda x: x * D.Normal(1.0, 0.3).rsample(x.shape),
    "Normal.sample": lambda x: x * D.Normal(MEANS, SCALES).sample((len(x),)),
    "uniform": lambda x: x + D.Uniform(-1.0, 2.0).rsample(x.shape),
    "output": lambda x: D.Normal(x, F.softplus(x) + 0.1).rsample(),
    "output, one scale": lambda x: D.Normal(x, 0.1).sample(),
    "normal of tensors": lambda x: torch.normal(x, F.softplus(x) + 0.1),
    "latent": latent,
    "low rank": low_rank,
    "low rank of torch": lambda x: D.LowRankMultivariateNormal(
        x, torch.tanh(x[:, :, None]), SCALES.expand(len(x), 6), validate_args=False
    ).rsample(),
    "weights of rows": weights_of_rows,
    "normal weights of rows": lambda x: (torch.randn(len(x), 6, 6) @ x[:, :, None]).squeeze(2),
    "local reparameterisation": local,
    "local reparameterisation of a convolution": local_convolution,
    "Concrete dropout": concrete,
    "relaxed Bernoulli": lambda x: (
        x * D.RelaxedBernoulli(torch.tensor(0.5), probs=0.1 + SCALES).rsample((len(x),))
    ),
    "Gumbel": lambda x: x + D.Gumbel(MEANS, SCALES).rsample((len(x),)),
    "Laplace": lambda x: x + D.Laplace(MEANS, SCALES).rsample((len(x),)),
    "exponential": lambda x: x + D.Exponential(2.0).rsample(x.shape),
    "log-normal": lambda x: x * D.LogNormal(0.0, 0.2).rsample(x.shape),
    "DropBlock": drop_block,
    "smoothed mask": lambda x: x * torch.sigmoid(4 * torch.bernoulli(torch.full_like(x, 0.5)) - 2),
    "several masks": lambda x: (
        x * torch.exp((torch.rand_like(x) < 0.3).float() + 0.5 * (torch.rand_like(x) > 0.3))
    ),
    "random signs": lambda x: torch.relu(x * torch.sign(torch.randn_like(x))),
    "gate": lambda x: x * (torch.randn_like(x) > 0.5),
    "network of noise": lambda x: x + torch.tanh(torch.randn(len(x), 3) @ torch.ones(3, 6)),
    "dropped noise": lambda x: x + F.dropout(torch.randn_like(x), 0.3, training=True),
    "divided by noise": lambda x: x / (2 + torch.rand_like(x)),
    "parts of noise": lambda x: x + sum(torch.randn(len(x), 12).chunk(2, 1)),
}


@pytest.mark.sample(16)
@pytest.mark.few(3)
@pytest.mark.parametrize("name", COUPLED)
def test_the_graph_has_the_values_and_the_distribution_of_the_module(name: str) -> None:
    torch.manual_seed(0)
    net = Around(Spelled(COUPLED[name])).eval()
    source = read_modules([net], X[:4])
    assert noise_of(source.graph)
    check(source.graph)
    check_distribution([Subject(source.references[0], source.graph, source.graph)], X.numpy())


def test_a_long_function_of_noise_needs_no_recursion() -> None:
    def long(x: Tensor) -> Tensor:
        z = torch.randn_like(x)
        for _ in range(300):
            z = z * 1.001
        return x + z

    assert sum(node.op.name == "affine" for node in graph_of(long).nodes) == 300
