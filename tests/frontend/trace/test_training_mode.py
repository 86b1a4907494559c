"""dropout="active" is train() on every module but normalisation layers, and nothing more."""

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
from qbnnc.ir.ops import KeepMask, Normal
from qbnnc.ir.rng import Draw
from qbnnc.support.errors import CompileError
from tests.frontend.nets import Around
from tests.frontend.outputs import outputs_of

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def masks(graph: Graph) -> list[tuple[tuple[int, ...], float]]:
    return [(n.op.shape, n.op.p) for n in graph.nodes if isinstance(n.op, KeepMask)]


class OfDropout(nn.Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > self.p) / (1 - self.p) if self.training else x


class StochasticDepth(nn.Module):
    """A branch under torchvision.ops.StochasticDepth in mode "row"."""

    def __init__(self, p: float = 0.3) -> None:
        super().__init__()
        self.p, self.branch = p, nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.branch(x)
        if self.training:
            noise = torch.empty([x.shape[0], 1], dtype=x.dtype).bernoulli_(1 - self.p)
            y = y * noise.div_(1 - self.p)
        return x + y


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.randn(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        noise = 0.3 * torch.randn_like(self.mu) if self.training else 0.0
        return F.linear(x, self.mu + noise)


class CenteringNorm(nn.Module):
    """A normalisation of the user's own."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((6,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x - (x.mean(0) if self.training else self.mean)


class OwnSwitch(nn.Module):
    """A module whose train() sets more than `training`."""

    sampling = False

    def train(self, mode: bool = True) -> OwnSwitch:
        self.sampling = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > 0.4) / 0.6 if self.sampling else x


AWAKE: dict[str, tuple[Callable[[], nn.Module], list[tuple[tuple[int, ...], float]]]] = {
    "derived": (lambda: nn.Sequential(nn.Dropout(0.2), OfDropout(0.5)), [((6,), 0.2), ((6,), 0.5)]),
    "depth": (StochasticDepth, [((1,), 0.3)]),
    "functional": (lambda: Root(lambda m, x: F.dropout(x, 0.25, m.training)), [((6,), 0.25)]),
    "by hand": (
        lambda: Root(lambda m, x: x * (torch.rand_like(x) < 0.7) / 0.7 if m.training else x),
        [((6,), 0.3)],
    ),
    "batch norm": (lambda: nn.Sequential(nn.BatchNorm1d(6), OfDropout(0.5)), [((6,), 0.5)]),
    "own norm": (lambda: nn.Sequential(CenteringNorm(), nn.Dropout(0.5)), [((6,), 0.5)]),
    "spectral norm": (
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(6, 6)), nn.Dropout(0.5)),
        [((6,), 0.5)],
    ),
    "own train": (OwnSwitch, [((6,), 0.4)]),
    "switched off for good": (
        lambda: Root(lambda m, x: F.dropout(F.dropout(x, 0.5, False), 0.25, m.training)),
        [((6,), 0.25)],
    ),
}


class Root(nn.Module):
    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", AWAKE)
def test_all_noise_and_nothing_else_awakes(name: str) -> None:
    make, expected = AWAKE[name]
    net = Around(make()).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(CompileError, match=r"^layer.*noise here, but it is switched off"):
        read_module(net, X)
    assert masks(read_module(net, X, dropout="active")) == expected
    off = read_module(net, X, dropout="off")
    assert masks(off) == []
    np.testing.assert_allclose(outputs_of(off, X)[0], net(X).detach(), rtol=1e-4, atol=1e-5)
    assert not any(child.training for child in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@pytest.mark.few(0)
def test_noise_has_the_law_of_training_mode() -> None:
    """StochasticDepth beside dropout: means and deviations of 4000 samples."""
    torch.manual_seed(0)
    net = Around(nn.Sequential(StochasticDepth(), nn.Dropout(0.2))).eval()
    graph = read_module(net, X, dropout="active")
    found = evaluate(graph, X.numpy(), Draw.of(0, range(4000), range(len(X))))[0]
    net.train()
    with torch.no_grad():
        expected = np.stack([net(X).numpy() for _ in range(4000)])
    np.testing.assert_allclose(found.std(0), expected.std(0), rtol=0.08)


@pytest.mark.few(0)
def test_variational_layers_that_eval_switches_off() -> None:
    net = Around(Variational()).eval()
    with pytest.raises(CompileError, match=r"^layer .*noise here, but it is switched off"):
        read_module(net, X)
    graph = read_module(net, X, dropout="active")
    assert [n.op.shape for n in graph.nodes if isinstance(n.op, Normal)] == [(6, 6)]
    assert not any(isinstance(n.op, Normal) for n in read_module(net, X, dropout="off").nodes)


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aux = nn.Linear(6, 6), nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> object:
        y = F.dropout(self.body(x), 0.2, self.training)
        return (self.head(y), self.aux(y)) if self.training else self.head(y)


class WithTargets(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.drop = nn.Linear(6, 2), OfDropout(0.2)

    def forward(self, x: Tensor, targets: Tensor | None = None) -> Tensor:
        if self.training and targets is None:
            raise ValueError("targets are needed in training")
        y: Tensor = self.fc(self.drop(x))
        return y


def twice(m: nn.Module, x: Tensor) -> Tensor:
    y = F.dropout(x, 0.2, m.training)
    return 2 * y if m.training else y


MORE = {
    "outputs": (Auxiliary(), r"returns \[2\] and \[2\] in training mode and \[2\] in eval mode"),
    "targets": (WithTargets(), "targets are needed in training"),
    "factor": (Around(Root(twice)), "without dropout, its outputs differ in training mode"),
    "branch": (
        Around(Root(lambda m, x: F.relu(F.dropout(x, 0.2, m.training) - int(m.training)))),
        "outputs differ in training mode",
    ),
    "slopes": (Around(nn.RReLU()), "rrelu: draws a slope for each activation"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", MORE)
def test_training_mode_that_changes_more(name: str) -> None:
    net, message = MORE[name]
    with pytest.raises(CompileError, match="noise here, but it is switched off"):
        read_module(net.eval(), X)
    with pytest.raises(CompileError, match=message):
        read_module(net.eval(), X, dropout="active")
    graph = read_module(net.eval(), X, dropout="off")
    expected = net.eval()(X)
    np.testing.assert_allclose(outputs_of(graph, X)[0], expected.detach(), rtol=1e-4, atol=1e-5)


def test_another_branch_beside_a_dropout() -> None:
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.fc = OfDropout(0.2), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.drop(x)
            return self.fc(y) if self.training else y

    with pytest.raises(CompileError, match=r"^layer.fc: .*'linear' is computed in training mode"):
        read_module(Around(Other()).eval(), X, dropout="active")


def test_nothing_to_ask_where_training_mode_has_no_noise() -> None:
    net = Around(Root(lambda m, x: x + 1 if m.training else x)).eval()
    (output,) = outputs_of(read_module(net, X), X)
    np.testing.assert_allclose(output, net(X).detach(), rtol=1e-5, atol=1e-5)
