"""Compiled networks have the distribution of the user's module: mean, deviation, correlation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.runtime import load
from tests.conformance.laws import (
    LAWS,
    ROWS,
    SAMPLES,
    Net,
    X,
    assert_same_law,
    compiled,
    drawn,
    drawn_compiled,
)
from tests.examples import slow_but


@pytest.mark.sample(10)
@pytest.mark.parametrize("name", slow_but(["siamese"], LAWS))
def test_the_distribution_of_the_module(name: str, tmp_path: Path) -> None:
    net = Net(LAWS[name]).eval()
    model = compiled(net, str(tmp_path / "law.qbnn"))
    assert_same_law(drawn(net), drawn_compiled(model))


class OfDropout(nn.Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand_like(x) > self.p) / (1 - self.p) if self.training else x


class Perturbed(nn.Module):
    """Noise of training alone, in a class whose name does not say so."""

    def __init__(self, noise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.noise = noise

    def forward(self, x: Tensor) -> Tensor:
        return self.noise(x) if self.training else x


class Depth(nn.Module):
    """Drop rows of a branch, as torchvision.ops.StochasticDepth does."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode, self.branch = mode, nn.Linear(24, 24)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.branch(x)
        if self.training:
            size = [len(x), 1] if self.mode == "row" else [1, 1]
            y = y * torch.empty(size, dtype=x.dtype).bernoulli_(0.6).div_(0.6)
        return x + y


ASLEEP: dict[str, Callable[[], nn.Module]] = {
    "derived from Dropout": lambda: OfDropout(0.5),
    "gate of a row": lambda: Perturbed(lambda x: x * (torch.rand(len(x), 1) < 0.7) / 0.7),
    "derived, in containers": lambda: nn.Sequential(nn.Sequential(OfDropout(0.5))),
    "stochastic depth": lambda: Depth("row"),
}


@pytest.mark.parametrize("name", slow_but(["stochastic depth"], ASLEEP))
def test_dropout_active_awakes_all_noise(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    asleep = ASLEEP[name]()
    net = nn.Sequential(
        nn.Linear(8, 24), nn.ReLU(), nn.Dropout(0.2), asleep, nn.BatchNorm1d(24), nn.Linear(24, 2)
    ).eval()
    model = compiled(net, str(tmp_path / "law.qbnn"), dropout="active")
    awake = net.train()
    net[4].eval()
    assert_same_law(drawn(awake), drawn_compiled(model))


@pytest.mark.slow
def test_a_draw_of_the_batch_is_shared_by_its_rows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 24), Depth("batch"), nn.Linear(24, 2)).eval()
    model = compiled(net, str(tmp_path / "law.qbnn"), dropout="active")
    expected, found = drawn(net.train()), drawn_compiled(model)
    assert_same_law(expected, found)
    assert_same_law(expected.transpose(0, 2, 1), found.transpose(0, 2, 1))


class Derived(nn.Module):
    """A probability, a slope or a mask that loading derives from the weights, by `hook`."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(8, 16), nn.Linear(16, 2)
        self.logit = nn.Parameter(torch.tensor(-1.0))
        self.p, self.slope, self.mask = 0.5, 0.0, torch.ones(16)
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]  # torch's
            lambda module, keys: module.derive()
        )

    def derive(self) -> None:
        self.p = self.slope = float(torch.sigmoid(self.logit.detach()))
        self.mask = (self.enter.bias.detach() > 0).float()

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.enter(x), self.slope) * self.mask
        y: Tensor = self.leave(F.dropout(h, self.p, True))
        return y


class DerivedInside(nn.Module):
    """The same in a submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Derived()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return y


class DerivedBySetting(Derived):
    """By set_extra_state, which load_state_dict calls."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = 0.0

    def get_extra_state(self) -> Tensor:
        return self.enter.bias.detach().sum()

    def set_extra_state(self, state: Tensor) -> None:
        self.shift = float(state)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shift


DERIVED = {cls.__name__: cls for cls in (Derived, DerivedInside, DerivedBySetting)}


@pytest.mark.parametrize("name", slow_but([], DERIVED))
def test_members_have_what_loading_derives(name: str, tmp_path: Path) -> None:
    states, nets = [], []
    for i, logit in enumerate((-3.0, 0.0, 1.0)):
        torch.manual_seed(i)
        net = DERIVED[name]()
        inner = net.inner if isinstance(net, DerivedInside) else net
        inner.logit.data.fill_(logit)
        states.append(net.state_dict())
        fresh = DERIVED[name]()
        fresh.load_state_dict(net.state_dict())
        nets.append(fresh.eval())
    torch.save(states, tmp_path / "nets.pt")
    model = qbnnc.compile(
        tmp_path / "nets.pt", tmp_path / "nets.qbnn", calibration=X.numpy(),
        model=f"{__name__}:{name}", bits="w8a8", calibration_passes=2,
    )  # fmt: skip
    found = load(model).predict(ROWS.numpy(), samples=len(nets) * SAMPLES, seed=1)["samples"]
    for i, net in enumerate(nets):
        assert_same_law(drawn(net), found[i :: len(nets)])
