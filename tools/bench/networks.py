"""The networks whose speed is measured: random weights, the shapes of the paper's experiments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.append(str(Path(__file__).resolve().parents[1] / "study"))

from qbnnc.study.paper.training.models import (
    BBBConv2d,
    BBBLinear,
    LeNet5,
    LeNet5_BBB,
    LeNet5_MCD,
    MCDropout,
    MCDropout2d,
)

SIGMA = 0.02  # of every Gaussian weight


@dataclass(frozen=True, slots=True)
class Case:
    """A network, or the members of an ensemble, for inputs [B, *shape].

    `factory` builds a member, as `qbnnc compile --model` takes it; `large`: seconds a prediction.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    make: Callable[[], list[nn.Module]]
    factory: str | None = None
    large: bool = False


def cases() -> Iterator[Case]:
    """All of them, small ones first."""
    digits, colours = (1, 28, 28), (3, 32, 32)
    yield Case("mlp_mcd", "MLP 13-100-100-100 MCD", (13,), lambda: [MLP("mcd")])
    yield Case("mlp_bbb", "MLP BBB", (13,), lambda: [MLP("bbb")])
    yield Case("lenet_mcd", "LeNet-5 MCD", digits, lambda: [LeNet5_MCD()])
    yield Case("lenet_bbb", "LeNet-5 BBB", digits, lambda: [LeNet5_BBB()])
    yield Case(
        "lenet_sghmc",
        "LeNet-5 SGHMC",
        digits,
        lambda: [LeNet5() for _ in range(20)],
        factory="training.models:LeNet5",
    )
    for kind, where in (("mcd", "MCD, every block"), ("last", "MCD, last stage"), ("bbb", "BBB")):
        make = partial(resnets, kind)
        yield Case(f"resnet18_{kind}", f"ResNet-18 {where}", colours, make, large=True)


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


class ResNet18(nn.Module):
    """For 32 x 32 images (He et al. 2015), stages of 64..512 channels.

    Dropout of channels, .15, in every block ("mcd") or in those of the last stage ("last"); or
    Gaussian weights ("bbb").
    """

    def __init__(self, kind: str, width: int = 64) -> None:
        super().__init__()
        self.kind = kind
        self.stem = self.conv(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        blocks, entering = [], width
        for stage in range(4):
            for number in range(2):
                leaving = width << stage
                stride = 2 if stage and not number else 1
                drops = kind == "mcd" or (kind == "last" and stage == 3)
                blocks.append(Block(self, entering, leaving, stride, drops=drops))
                entering = leaving
        self.blocks = nn.Sequential(*blocks)
        self.head = BBBLinear(entering, 10, SIGMA) if kind == "bbb" else nn.Linear(entering, 10)

    def conv(self, entering: int, leaving: int, size: int, stride: int = 1) -> nn.Module:
        if self.kind == "bbb":
            return PaddedBBBConv2d(entering, leaving, size, stride)
        return nn.Conv2d(entering, leaving, size, stride, size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.norm(self.stem(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class PaddedBBBConv2d(BBBConv2d):
    """With a stride, and as much padding as keeps the size at stride 1."""

    def __init__(self, entering: int, leaving: int, size: int, stride: int) -> None:
        super().__init__(entering, leaving, size, SIGMA)
        self.stride, self.padding = stride, size // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.sampled(), self.bias, self.stride, self.padding)


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(
        self, net: ResNet18, entering: int, leaving: int, stride: int, *, drops: bool
    ) -> None:
        super().__init__()
        self.conv1, self.norm1 = net.conv(entering, leaving, 3, stride), nn.BatchNorm2d(leaving)
        self.conv2, self.norm2 = net.conv(leaving, leaving, 3), nn.BatchNorm2d(leaving)
        self.drop = MCDropout2d(0.15) if drops else nn.Identity()
        self.short: nn.Module = nn.Identity()
        if stride != 1 or entering != leaving:
            self.short = nn.Sequential(
                net.conv(entering, leaving, 1, stride), nn.BatchNorm2d(leaving)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.drop(torch.relu(self.norm1(self.conv1(x))))
        y = self.norm2(self.conv2(y)) + self.short(x)
        return torch.relu(y)
