"""Correlated noise of weights: the graphs, their values on the module's own noise, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.frontend import read_file, read_module, read_modules, save_program
from qbnnc.frontend.distribution.coupled_calls import coupled
from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Add, Normal
from qbnnc.support.errors import CompileError
from tests.conformance.posteriors.correlated import FORMS, RANK, K, N, Net
from tests.examples import slow_but
from tests.frontend.convert.test_sampled_weights import constants
from tests.frontend.nets import Around, Spelled
from tests.frontend.outputs import images

X = images(3, 8)
NOISE: dict[str, list[tuple[int, ...]]] = {
    "low rank and diagonal": [(RANK,), (N, K)],
    "low rank": [(RANK,)],
    "full covariance": [(N * K + N,)],
    "swag": [(9 * K + N * K + N,), (RANK,)],
    "rows apart": [(N, K)],
    "kronecker": [(N, K)],
    "kronecker of inputs": [(N, K)],
    "eigenbasis": [(N, K + 1)],
    "convolution": [(4, 9)],
    "low rank convolution": [(RANK,)],
    "sum of two": [(N, K), (N, 1)],
    "joined": [(N * K,)],
    "flat": [(9 * K + N * K + N,)],
    "rank one": [(K,), (N,), (N,)],
    "channels": [(1, 4, 1, 1), (4, 1, 1)],
}


def noise_of(graph: Graph) -> list[tuple[int, ...]]:
    drawn = [node.op for node in graph.nodes if isinstance(node.op, Normal)]
    return [op.shape for op in sorted(drawn, key=lambda op: op.stream)]


def assert_same_values(net: torch.nn.Module, x: Tensor) -> Graph:
    """The graph gives what the module gives, when both draw the same numbers."""
    source = read_modules([net.eval()], x)
    check(source.graph)
    assert coupled(source.references[0], source.graph, x.numpy(), calls=4) is None
    return source.graph


@pytest.mark.few(4)
@pytest.mark.parametrize("name", slow_but(["low rank and diagonal", "eigenbasis", "joined"], FORMS))
def test_values_are_those_of_the_module(name: str) -> None:
    """And each noise tensor of the module is drawn once."""
    assert noise_of(assert_same_values(Net(FORMS[name]), X)) == NOISE[name]


def ops_of(graph: Graph) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(n.output.name, n.op.name, n.output.type.shape) for n in graph.nodes]


def test_the_graph_of_low_rank() -> None:
    """Five slopes for each of three outputs; the noise is read twice (sqrt(16) / 2)."""
    graph = read_module(Net(FORMS["low rank and diagonal"]), X)
    assert ops_of(graph) == [
        ("enter", "linear", (K,)),
        ("relu", "clamp", (K,)),
        ("linear.slopes", "linear", (N * RANK,)),
        ("linear.noise.image", "reshape", (N * RANK, 1, 1)),
        ("linear.noise.weight.eps", "normal", (RANK,)),
        ("linear.noise.weight", "sampled_weight", (N, RANK, 1, 1)),
        ("linear.noise", "conv2d", (N, 1, 1)),
        ("linear.noise.features", "reshape", (N,)),
        ("linear.joined", "concat", (K + 2 * N,)),
        ("linear.weight.eps", "normal", (N, K)),
        ("linear.weight", "sampled_weight", (N, K + 2 * N)),
        ("linear", "linear", (N,)),
    ]
    found = constants(graph)
    assert found["linear.noise.weight.index"].reshape(N, RANK).tolist() == [[*range(RANK)]] * N
    assert not found["linear.noise.weight.mu"].any()
    assert not found["linear.weight.sigma"][:, K:].any()


def test_the_slopes_are_those_of_the_module() -> None:
    """slopes * sigma, times the weight and its two copies that read them, are D."""
    net = Net(FORMS["low rank"])
    found = constants(read_module(net, X))
    slopes = found["linear.slopes.weight"].reshape(N, RANK, K).transpose(1, 0, 2)
    sigma = found["linear.noise.weight.sigma"].reshape(N, RANK).T[:, :, None]
    read = found["linear.weight"][:, K:].reshape(N, 2, N).sum(1)
    np.testing.assert_array_equal(read, np.diag(np.diag(read)))
    made = slopes * sigma * np.diag(read)[None, :, None]
    np.testing.assert_allclose(made, net.slopes.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_the_graph_of_a_kronecker_product() -> None:
    """A product by the unit matrix on the left has no layer."""
    whole, inputs = (
        [name for name, op, _ in ops_of(read_module(Net(FORMS[name]), X)) if op == "linear"]
        for name in ("kronecker", "kronecker of inputs")
    )
    assert whole == ["enter", "linear.right", "linear.noise", "linear.left", "linear"]
    assert inputs == ["enter", "linear.right", "linear.noise", "linear"]


def test_a_convolution_is_added() -> None:
    graph = read_module(Net(FORMS["convolution"]), X)
    (node,) = (n for n in graph.nodes if isinstance(n.op, Add))
    assert [value.name for value in node.inputs] == ["conv2d.mean", "conv2d.left"]
    assert node.output.name == "conv2d"


@pytest.mark.few(1)
@pytest.mark.parametrize("name", slow_but(["swag"], ["swag", "kronecker"]))
def test_members_are_one_network(name: str) -> None:
    """The ops follow from shapes, and not from how large the noise is."""
    small, large = Net(FORMS[name]), Net(FORMS[name])
    with torch.no_grad():
        for parameter in large.parameters():
            parameter.mul_(3 * torch.rand_like(parameter))
    source = read_modules([small.eval(), large.eval()], X)
    assert ops_of(source.graphs[0]) == ops_of(source.graphs[1])


def test_saved_and_read_back(tmp_path: Path) -> None:
    net = Net(FORMS["joined"]).eval()
    save_program(net, tmp_path / "net.pt2", X)
    source = read_file(tmp_path / "net.pt2")
    assert str(source.graph) == str(read_module(net, X))
    assert coupled(source.references[0], source.graph, X.numpy(), calls=2) is None


def groups(x: Tensor) -> Tensor:
    slopes = torch.linspace(-1, 1, 3 * 4 * 2).reshape(3, 4, 2, 1, 1)
    noise = torch.einsum("r,roihw->oihw", torch.randn(3), slopes)
    return F.conv2d(x[:, :, None, None], 0.5 + noise, groups=2).flatten(1)


def positions(x: Tensor) -> Tensor:
    slopes = torch.linspace(-1, 1, 2 * 5 * 2).reshape(2, 5, 2)
    noise = torch.einsum("r,rok->ok", torch.randn(2), slopes)
    return F.linear(x.reshape(-1, 2, 2), 0.5 + noise).flatten(1)


def bias_alone(x: Tensor) -> Tensor:
    factor = torch.linspace(-1, 1, 9).reshape(3, 3)
    return F.linear(x, torch.full((3, 4), 0.5), factor @ torch.randn(3))


def no_mean(x: Tensor) -> Tensor:
    slopes = torch.linspace(-1, 1, 2 * 3 * 4).reshape(2, 3, 4)
    return F.linear(x, torch.tensordot(torch.randn(2), slopes, 1))


def used_twice(x: Tensor) -> Tensor:
    """Noise of one layer comes again, beside other noise, in another."""
    a, b = torch.randn(3, 4), torch.randn(3, 4)
    first = F.linear(x, 1 + 0.3 * a)
    return first + F.linear(x, torch.cat([0.2 * a[:2], 0.3 * b[:1]]))


def two_factors(x: Tensor) -> Tensor:
    """Noise drawn as the transposed matrix, and then noise of low rank."""
    left, right = torch.linspace(-1, 1, 9).reshape(3, 3), torch.linspace(0, 1, 16).reshape(4, 4)
    right = right + torch.eye(4)
    noise = left @ torch.randn(4, 3).t() @ right
    slopes = torch.linspace(-1, 1, 2 * 3 * 4).reshape(2, 3, 4)
    return F.linear(x, noise + torch.tensordot(torch.randn(2), slopes, 1) + 0.5)


def last_axis(x: Tensor) -> Tensor:
    rows = x.reshape(-1, 2, 2)
    return (rows * (1 + torch.randn(2)) + torch.randn(1, 2, 1)).flatten(1)


def whole_rows(x: Tensor) -> Tensor:
    rows = x.reshape(-1, 2, 2)
    return ((1 + torch.randn(2, 2)) * rows - 0.5 * torch.randn(1)).flatten(1)


def split(x: Tensor) -> Tensor:
    """Parts of one vector, of independent and of correlated noise."""
    slopes = torch.linspace(-1, 1, 2 * 15).reshape(2, 15)
    theta = 0.5 + 0.3 * torch.randn(15) + torch.randn(2) @ slopes
    weight, bias = theta.split([12, 3])
    y: Tensor = F.linear(x, weight.view(3, 4)) + bias
    return y


def from_noise(x: Tensor) -> Tensor:
    return torch.randn(4) - x


def joins_the_bias(x: Tensor) -> Tensor:
    y = F.conv2d(x.reshape(-1, 1, 2, 2), torch.ones(3, 1, 1, 1), torch.ones(3))
    return (y + 0.5 * torch.randn(3, 1, 1)).flatten(1)


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "layer",
    [
        groups, positions, bias_alone, no_mean, used_twice, two_factors, last_axis, whole_rows,
        split, from_noise, joins_the_bias,
    ],
    ids=lambda layer: layer.__name__,
)  # fmt: skip
def test_layers(layer: Callable[[Tensor], Tensor]) -> None:
    graph = assert_same_values(Spelled(layer), images(3, 4))
    if layer is joins_the_bias:
        assert sum(n.op.name == "conv2d" for n in graph.nodes) == 1


def too_much(h: Tensor) -> Tensor:
    factor = torch.linspace(-1, 1, 36 * 5000).reshape(36, 5000)
    return F.linear(h, (factor @ torch.randn(5000)).view(6, 6))


def outer_product(h: Tensor) -> Tensor:
    return F.linear(h, torch.ones(6, 6) * torch.randn(6, 1) * torch.randn(6))


def larger(h: Tensor) -> Tensor:
    return (h[:, :1] * torch.randn(6)) + h


def signs_around(h: Tensor) -> Tensor:
    noise = torch.tensordot(torch.randn(2), torch.linspace(-1, 1, 72).reshape(2, 6, 6), 1)
    into, out = torch.randn_like(h).sign(), torch.randn_like(h).sign()
    return F.linear(h, torch.ones(6, 6)) + F.linear(h * into, noise) * out


REFUSED: dict[Callable[[Tensor], Tensor], str] = {
    too_much: r"correlated noise that is no Kronecker product.*5000.*at most 4096.*lower rank",
    outer_product: r"not mean . scale . Gaussian noise.*a product of noise tensors",
    larger: r"a random tensor of shape \[6\] with smaller rows of shape \[1\]",
    signs_around: r"weights have correlated noise",
}


@pytest.mark.few(1)
@pytest.mark.parametrize("layer", REFUSED, ids=lambda layer: layer.__name__)
def test_refused(layer: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(CompileError, match=REFUSED[layer]) as error:
        read_module(Around(Spelled(layer)).eval(), images(5, 6))
    assert str(error.value).startswith("layer")
