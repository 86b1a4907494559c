"""The networks whose speed is measured: random weights, the shapes of the paper's experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import qbnnc
from qbnnc.bench.baselines import FloatNetwork
from qbnnc.loading.sources import SourceOptions, read
from tools.models import LENET5, BBBLinear, LeNet, LeNet_BBB, LeNet_MCD, MCDropout, ResNet18

SIGMA = 0.02  # of every Gaussian weight
DRAWS, SEED = 20, 3  # samples of every prediction, and their seed


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


@dataclass(frozen=True, slots=True)
class Files:
    """The artefacts of one compile, and the int8 file of the same network with nothing drawn."""

    qbnn: Path
    onnx: Path
    fixed: Path


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


def network_of(case: Case, folder: Path) -> FloatNetwork:
    """Read a case's network as `qbnnc compile` does, with members in files of their own."""
    torch.manual_seed(0)
    members = [member.eval() for member in case.make()]
    x = np.random.default_rng(0).standard_normal((128, *case.shape)).astype(np.float32)
    source: object = members[0]
    if len(members) > 1:
        source = [folder / f"member{number}.pt" for number in range(len(members))]
        for path, member in zip(source, members, strict=True):
            torch.save(member.state_dict(), path)
    return FloatNetwork(read(source, x, SourceOptions(case.factory, case.arguments)), DRAWS)


def compile_files(network: FloatNetwork, folder: Path, name: str, bits: str) -> Files:
    """Compile a network, calibrated on noise: only its speed matters."""
    files = Files(*(folder / f"{name}{end}" for end in (".qbnn", ".onnx", "-fixed.onnx")))
    fixed = replace(network.model, members=tuple(network.fixed_members))
    draws = network.passes
    for model, paths, samples in (
        (network.model, (files.qbnn, files.onnx), draws),
        (fixed, (files.fixed,), 1),
    ):
        qbnnc.compile(
            model,
            paths,
            bits=bits,
            samples=samples,
            calibration_passes=1,
            rounding="nearest",
            bias_correction=False,
        )
    return files
