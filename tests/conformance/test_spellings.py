"""Ordinary code in networks: compiled near the module's values, or refused with what compiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Array
from qbnnc.support.errors import UserError
from tests.examples import slow_but

Function = Callable[[Tensor], Tensor]
IMAGES = torch.randn(128, 1, 8, 8, generator=torch.Generator().manual_seed(0))
X = torch.randn(256, 8, generator=torch.Generator().manual_seed(1))


class Images(nn.Module):
    """A convolution, what is tried, a layer."""

    def __init__(self, tried: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.tried, self.out = nn.Conv2d(1, 8, 3, padding=1), tried, nn.LazyLinear(2)
        self(IMAGES[:2])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.tried(self.conv(x)).flatten(1))
        return y


def compiled(net: nn.Module, x: Tensor, path: Path) -> Model:
    return qbnnc.compile(net, path, calibration=x.numpy(), bits="w8a8")


def assert_near(net: nn.Module, x: Tensor, path: Path, share: float = 0.05) -> None:
    """The mean error is a small share of the outputs' deviation over rows."""
    model = compiled(net.eval(), x, path)
    outputs = net(x[:32])
    expected: list[Array] = [y.detach().numpy() for y in outputs_of(outputs)]
    found = [samples[0] for samples in oracle_samples(model, x[:32].numpy(), samples=1)]
    for real, got in zip(expected, found, strict=True):
        got = got.reshape(real.shape)
        assert np.abs(real - got).mean() < share * real.std() + 1e-6


def outputs_of(outputs: object) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    assert isinstance(outputs, tuple)
    return list(outputs)


FUNCTIONS: dict[str, Function] = {
    "se gate": lambda h: torch.einsum("abcd,ab->abcd", h, torch.sigmoid(h.mean((2, 3)))),
    "square": lambda h: h**2,
    "times itself": lambda h: h * h,
    "sqrt": lambda h: h.abs().sqrt(),
    "log": lambda h: torch.log(h.abs() + 1),
    "sum": lambda h: h.sum(1),
    "var": lambda h: h.var((2, 3)),
    "mish": F.mish,
    "selu": F.selu,
    "celu": F.celu,
    "glu": lambda h: F.glu(h, 1),
    "logsigmoid": F.logsigmoid,
    "softplus of beta": lambda h: F.softplus(h, beta=5.0),
    "sin": torch.sin,
    "mish by hand": lambda h: h * torch.tanh(F.softplus(h)),
    "softsign": F.softsign,
    "erf": torch.erf,
    "scaled tanh": lambda h: 5 * torch.tanh(h) - 1,
    "less its relu": lambda h: h - torch.relu(h) * 0.5,
    "ceil_mode": lambda h: F.max_pool2d(h, 3, 2, ceil_mode=True),
    "adaptive pool up": lambda h: F.adaptive_avg_pool2d(h, 12),
    "upsample": lambda h: F.interpolate(h, scale_factor=2, mode="bilinear"),
    "group norm": lambda h: F.group_norm(h, 2),
    "reflection": lambda h: F.pad(h, (1, 1, 1, 1), mode="reflect"),
    "mul broadcast": lambda h: h * F.adaptive_avg_pool2d(h, (1, 8)),
    "add broadcast": lambda h: h + F.adaptive_avg_pool2d(h, (1, 8)),
    "sub broadcast": lambda h: h - F.adaptive_avg_pool2d(h, (1, 8)),
}


@pytest.mark.sample(12)
@pytest.mark.few(1)
@pytest.mark.parametrize("name", slow_but(["mish", "times itself"], FUNCTIONS))
def test_functions_between_layers(name: str, tmp_path: Path) -> None:
    assert_near(Images(FUNCTIONS[name]), IMAGES, tmp_path / "net.qbnn")


OTHERS: dict[str, Function] = {
    "grid": lambda h: F.grid_sample(h, h[:, :2].permute(0, 2, 3, 1), align_corners=False),
    "log_softmax inside": lambda h: torch.log_softmax(h, 1),
    "sorted": lambda h: h.sort(1).values,
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_refused_says_so(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^\S.*: .{20}") as caught:
        compiled(Images(OTHERS[name]).eval(), IMAGES, tmp_path / "net.qbnn")
    assert "test_spellings.py" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


class Heads(nn.Module):
    """Two heads, and what is returned."""

    def __init__(self, returned: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.mean, self.second = nn.Linear(8, 32), nn.Linear(32, 1), nn.Linear(32, 1)
        self.returned = returned

    def forward(self, x: Tensor) -> object:
        h = torch.relu(self.trunk(x))
        return self.returned(self.mean(h), self.second(h))


class Steps(nn.Module):
    """nn.Linear at T positions, and a layer that forward never calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.h, self.old = nn.Linear(4, 12), nn.Linear(24, 2), nn.LSTM(4, 4)

    def forward(self, *inputs: Tensor) -> Tensor:
        y: Tensor = self.h(torch.relu(self.a(inputs[0].view(-1, 2, 4))).flatten(1))
        return y


def norm_and(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), *layers, nn.Linear(16, 2))


NETS: dict[str, Callable[[], nn.Module]] = {
    "softplus + 1": lambda: Heads(lambda m, v: (m, F.softplus(v) + 1)),
    "softplus + 1e-6": lambda: Heads(lambda m, v: (m, F.softplus(v) + 1e-6)),
    "bounded log variance": lambda: Heads(
        lambda m, v: (m, -10 + F.softplus(0.5 - F.softplus(0.5 - v) + 10))
    ),
    "5 tanh": lambda: Heads(lambda m, v: 5 * torch.tanh(m)),
    "norm after relu": lambda: norm_and(nn.ReLU(), nn.BatchNorm1d(16)),
    "norm before relu": lambda: norm_and(nn.BatchNorm1d(16), nn.ReLU()),
    "norm, norm, relu": lambda: norm_and(nn.BatchNorm1d(16), nn.BatchNorm1d(16), nn.ReLU()),
    "steps of a series": Steps,
    "conv1d and norm": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 8)), nn.Conv1d(1, 8, 3), nn.BatchNorm1d(8), nn.ReLU(), nn.Flatten(),
        nn.Linear(48, 2),
    ),
}  # fmt: skip


@pytest.mark.few(1)
@pytest.mark.parametrize("name", slow_but(["conv1d and norm", "steps of a series"], NETS))
def test_networks(name: str, tmp_path: Path) -> None:
    assert_near(NETS[name](), X, tmp_path / "net.qbnn")
