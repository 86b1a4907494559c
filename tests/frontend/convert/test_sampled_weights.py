"""Sampled weights are recognised by what they compute, however they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_file, read_module, save_program
from qbnnc.ir.check import check, random_nodes
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Conv2d, KeepMask, Linear, Mask, Normal, SampledWeight
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.support.errors import CompileError
from tests.examples import slow_but
from tests.frontend import bayesian
from tests.frontend.bayesian import SPELLINGS, Sampled, injected, noise_of
from tests.frontend.nets import Around, Net, Spelled
from tests.frontend.outputs import images

X = images(5, 6)


def constants(graph: Graph) -> dict[str, Array]:
    return {value.name: array for value, array in graph.constants.items()}


def assert_same_with_noise(net: nn.Module, x: Tensor) -> Graph:
    """For the noise of three samples the graph and the module give the same."""
    net.eval()
    graph = read_module(net, x[:2])
    check(graph)
    draw = Draw.of(3, range(3), range(len(x)))
    noise = noise_of(graph, draw)
    (outputs,) = evaluate(graph, x.numpy(), draw)
    for sample, output in enumerate(outputs):
        with torch.no_grad(), injected([torch.from_numpy(eps[sample].copy()) for eps in noise]):
            expected = net(x).numpy()
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(outputs, axis=0).max() > 1e-2
    return graph


@pytest.mark.few(1)
@pytest.mark.parametrize("name", slow_but(["log_variance", "transposed", "shared"], SPELLINGS))
def test_spellings(name: str) -> None:
    """The index of transposed, sliced and shared noise is right, or the outputs would differ."""
    graph = assert_same_with_noise(Sampled(SPELLINGS[name]), X)
    assert isinstance(graph.nodes[-1].op, Linear)


def test_mean_and_scale_are_recovered() -> None:
    layer = Sampled(bayesian.softplus)
    graph = read_module(layer, X)
    found = constants(graph)
    assert sorted(found) == [
        "linear.bias.mu", "linear.bias.sigma", "linear.weight.mu", "linear.weight.sigma",
    ]  # fmt: skip
    with torch.no_grad():
        for name, mu, rho in (
            ("weight", layer.mu, layer.rho),
            ("bias", layer.bias_mu, layer.bias_rho),
        ):
            np.testing.assert_array_equal(found[f"linear.{name}.mu"], mu.numpy())
            sigma = F.softplus(rho.double()).numpy()
            np.testing.assert_allclose(found[f"linear.{name}.sigma"], sigma, rtol=1e-6)


@pytest.mark.few(1)
@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e4])
def test_any_scale_beside_any_mean(scale: float) -> None:
    sigma = scale * torch.rand(3, 50, generator=torch.Generator().manual_seed(1))
    layer = Spelled(lambda x: F.linear(x, torch.ones(3, 50) + (sigma * torch.randn(3, 50)).flip(1)))
    found = constants(read_module(layer, images(2, 50)))
    np.testing.assert_allclose(found["linear.weight.sigma"], sigma.flip(1).numpy(), rtol=1e-6)
    index = np.arange(150).reshape(3, 50)[:, ::-1]
    np.testing.assert_array_equal(found["linear.weight.index"], index)


def test_streams_follow_the_execution() -> None:
    """A weight, then its bias; masks are numbered with them."""
    net = nn.Sequential(
        nn.Linear(6, 6), nn.Dropout(0.25), Sampled(bayesian.softplus), nn.Dropout(0.5),
        nn.Linear(4, 4), nn.Flatten(),
    )  # fmt: skip
    graph = read_module(net.train(), X)
    check(graph)
    drawn = [(node.output.name, op.stream) for node, op in random_nodes(graph)]
    assert drawn == [("1.keep", 0), ("2.weight.eps", 1), ("2.bias.eps", 2), ("3.keep", 3)]
    assert sum(isinstance(n.op, Mask) for n in graph.nodes) == 2


@pytest.mark.few(0)
def test_dropout_is_switched_without_the_weights() -> None:
    net = Around(nn.Sequential(nn.Dropout(0.25), Sampled(bayesian.softplus), nn.Linear(4, 6)))
    off = read_module(net.eval(), X, dropout="off")
    active = read_module(net.eval(), X, dropout="active")
    assert [n.op.stream for n in off.nodes if isinstance(n.op, Normal)] == [0, 1]
    assert [n.op.stream for n in active.nodes if isinstance(n.op, KeepMask)] == [0]
    with pytest.raises(CompileError, match="'active', but the network has no noise"):
        read_module(Around(nn.Sequential(Sampled(bayesian.softplus), nn.Linear(4, 6))), X,
                    dropout="active")  # fmt: skip


def test_joint_noise_is_one_stream() -> None:
    graph = read_module(Sampled(bayesian.joint), X)
    assert [n.op for n in graph.nodes if isinstance(n.op, Normal)] == [Normal((28,), 0)]
    found = constants(graph)
    assert found["linear.weight.index"].tolist() == np.arange(24).reshape(4, 6).tolist()
    assert found["linear.bias.index"].tolist() == [24, 25, 26, 27]
    assert found["linear.bias.index"].dtype == np.int32


def test_transposed_noise_keeps_the_shape_of_the_program() -> None:
    graph = read_module(Sampled(bayesian.transposed), X)
    assert [n.op for n in graph.nodes if isinstance(n.op, Normal)] == [Normal((6, 4), 0)]
    index = constants(graph)["linear.weight.index"]
    assert index.tolist() == np.arange(24).reshape(6, 4).T.tolist()


def test_a_negative_scale_keeps_its_sign() -> None:
    layer = Sampled(bayesian.negative)
    found = constants(read_module(layer, X))
    np.testing.assert_array_equal(found["linear.weight.sigma"], layer.rho.detach().numpy())


def test_no_scale_is_no_noise() -> None:
    graph = read_module(
        Sampled(lambda m: (m.mu + 0.0 * torch.randn_like(m.mu), m.bias_mu + torch.randn(4))), X
    )
    assert [n.output.name for n in graph.nodes] == ["linear.bias.eps", "linear.bias", "linear"]
    assert [n.op.stream for n in graph.nodes if isinstance(n.op, Normal)] == [0]


def test_noise_of_the_kl_term_disappears() -> None:
    class WithSampledKL(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Sampled(bayesian.softplus)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return torch.randn(3).sum(), self.layer(x)

    graph = read_module(WithSampledKL(), X)
    assert [n.op.stream for n in graph.nodes if isinstance(n.op, Normal)] == [0, 1]


def test_a_layer_called_twice_draws_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Sampled(bayesian.exponential)
            self.between = nn.Linear(4, 6)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(self.between(self.layer(x)))
            return y

    graph = assert_same_with_noise(Twice(), X)
    assert sum(isinstance(n.op, Normal) for n in graph.nodes) == 2


def test_a_weight_sampled_once_and_used_twice() -> None:
    def twice(x: Tensor) -> Tensor:
        weight = 0.5 * torch.randn(6, 6)
        return F.linear(F.linear(x, weight).relu(), weight)

    graph = assert_same_with_noise(Spelled(twice), X)
    assert sum(isinstance(n.op, Normal) for n in graph.nodes) == 1


LAYERS: dict[str, tuple[Callable[[Tensor], Tensor], type]] = {
    "conv2d": (
        lambda x: F.conv2d(x, 1 + torch.randn(4, 1, 3, 2), torch.randn(4), 2, 1, 1, 2),
        Conv2d,
    ),
    "conv1d": (lambda x: F.conv1d(x.flatten(2), torch.randn(3, 2, 3) + 1), Conv2d),
    "transposed": (
        lambda x: F.conv_transpose2d(x, torch.randn(2, 3, 2, 2), torch.randn(6), 2, groups=2),
        Conv2d,
    ),
    "matmul": (lambda x: x.flatten(1) @ torch.randn(60, 3) + torch.randn(3), Linear),
    "addmm": (lambda x: torch.addmm(torch.randn(3), x.flatten(1), torch.randn(60, 3)), Linear),
    "bias by hand": (lambda x: F.linear(x.flatten(1), torch.ones(3, 60)) - torch.randn(3), Linear),
    "one bias": (lambda x: torch.addmm(torch.randn(1), x.flatten(1), torch.ones(60, 3)), Linear),
}  # fmt: skip


@pytest.mark.few(2)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    layer, op = LAYERS[name]
    if name == "bias by hand":  # -eps has the distribution of eps, but not its values
        graph = read_module(Spelled(layer), images(4, 2, 5, 6))
    else:
        graph = assert_same_with_noise(Spelled(layer), images(4, 2, 5, 6))
    assert any(isinstance(n.op, op) for n in graph.nodes)
    assert any(isinstance(n.op, SampledWeight) for n in graph.nodes)


@pytest.mark.few(0)
def test_mixture_of_dropout_and_sampled_weights() -> None:
    """Evaluated: noise, masks and outputs are those of the module."""
    net = Net(4)
    whole = nn.Sequential(Sampled(bayesian.joint), net)
    graph = read_module(whole.eval(), X, dropout="active")
    check(graph)
    draw = Draw.of(1, range(2), range(5))
    (outputs,) = evaluate(graph, X.numpy(), draw)
    (eps,) = noise_of(graph, draw)
    (keep,) = (n.op for n in graph.nodes if isinstance(n.op, KeepMask))
    kept = torch.from_numpy(keep.draw(draw).astype(np.float32))
    for sample in range(2):
        with torch.no_grad(), injected([torch.from_numpy(eps[sample].copy())]):
            hidden = F.relu(net.fc1(whole[0](X))) * kept[sample] / 0.75
            expected = net.fc2(hidden).numpy()
        np.testing.assert_allclose(outputs[sample], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.few(0)
def test_a_buffer_for_noise_may_hold_anything() -> None:
    """bayesian-torch makes its buffers with torch.Tensor(n), whose numbers are left over."""
    layer = Sampled(bayesian.in_place)
    layer.eps.fill_(float("nan"))
    assert_same_with_noise(layer, X)
    layer.eps.fill_(float("nan"))  # running it has drawn into it
    used = Sampled(lambda m: (m.mu + m.eps.normal_() + m.bias_mu[:, None] * layer.eps, None))
    with pytest.raises(CompileError, match="holds NaN or infinity"):
        read_module(used, X)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "name", slow_but(["joint"], ["softplus", "in_place", "joint", "distribution"])
)
def test_saved_and_read_back(name: str, tmp_path: Path) -> None:
    layer = Sampled(SPELLINGS[name])
    save_program(layer, tmp_path / "net.pt2", X)
    graph = read_file(tmp_path / "net.pt2").graph
    assert str(graph) == str(read_module(layer, X))


def test_a_program_for_one_batch_as_large_as_the_weight() -> None:
    """Noise of shape [4, 6] is no noise of 4 rows, whatever the example's batch is."""
    flat = Spelled(lambda h: h.view(4, 6))  # fixes the size of the batch
    graph = read_module(nn.Sequential(flat, Sampled(bayesian.distribution)), images(4, 6))
    normals = [n.op for n in graph.nodes if isinstance(n.op, Normal)]
    assert normals == [Normal((4, 6), 0), Normal((4,), 1)]
