"""The networks whose speed is measured: random weights, the shapes of the paper's experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from tools.models import LENET5, BBBLinear, LeNet, LeNet_BBB, LeNet_MCD, MCDropout, ResNet18

SIGMA = 0.02  # of every Gaussian weight


@dataclass(frozen=True, slots=True)
class Case:
    """A network, or the members of an ensemble, for inputs [B, *shape].

    `factory` builds a member with `arguments`, as `qbnnc compile --model` takes them; `large`:
    seconds a prediction.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    make: Callable[[], list[nn.Module]]
    factory: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    large: bool = False


def cases() -> Iterator[Case]:
    """Yield all cases, small ones first."""
    digits, colours = (1, 28, 28), (3, 32, 32)
    yield Case("mlp_mcd", "MLP 13-100-100-100 MCD", (13,), lambda: [MLP("mcd")])
    yield Case("mlp_bbb", "MLP BBB", (13,), lambda: [MLP("bbb")])
    yield Case(
        "lenet_mcd", "LeNet-5 MCD", digits, lambda: [LeNet_MCD(widths=LENET5, pixel_range=1)]
    )
    yield Case("lenet_bbb", "LeNet-5 BBB", digits, lambda: [LeNet_BBB(widths=LENET5)])
    yield Case(
        "lenet_sghmc",
        "LeNet-5 SGHMC",
        digits,
        lambda: [LeNet(widths=LENET5) for _ in range(20)],
        factory="tools.models:LeNet",
        arguments={"widths": LENET5},
    )
    for kind, where in (("mcd", "MCD, every block"), ("last", "MCD, last stage"), ("bbb", "BBB")):
        make = partial(resnets, kind)
        yield Case(f"resnet18_{kind}", f"ResNet-18 {where}", colours, make, large=True)


def lenet_mcd() -> nn.Module:
    return LeNet_MCD(widths=LENET5, pixel_range=1)


def resnets(kind: str) -> list[nn.Module]:
    return [ResNet18(kind)]


class MLP(nn.Module):
    """13 -> 100 -> 100 -> 100 -> 1; dropout .1 after each ReLU ("mcd"), or Gaussian weights."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        widths = (13, 100, 100, 100, 1)
        self.layers = nn.ModuleList(
            BBBLinear(i, o, SIGMA) if kind == "bbb" else nn.Linear(i, o)
            for i, o in pairwise(widths)
        )
        self.drop = MCDropout(0.1) if kind == "mcd" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.drop(torch.relu(layer(x)))
        made: Tensor = self.layers[-1](x)
        return made
