"""The networks whose fidelity is measured: how each is trained, and the file that keeps it.

A network trains in seconds to a minute and is kept under build/, by a digest of everything that
decides what it becomes. So no stale file is ever used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.study.paper.training import fit as training
from qbnnc.study.paper.training.recipes import ChainRecipe, Recipe
from tools import models
from tools.bench.few_bits import data
from tools.bench.few_bits.data import ROOT, Data, Load

FOLDER = ROOT / "build" / "few-bits"
CALIBRATION, LARGE_CALIBRATION = 512, 128  # rows at most
Make = Callable[[Data, int], list[nn.Module]]


@dataclass(frozen=True, slots=True)
class Case:
    """A network: its data, and `make`, which trains its members with a seed.

    The first `rows` are measured.

    `large` networks take long to compile: they are measured at fewer widths unless asked for more.
    """

    name: str
    title: str
    load: Load
    make: Make
    rows: int = 100
    large: bool = False


def cases() -> Iterator[Case]:
    """Yield all cases, small ones first."""
    for name, title, load, hidden in (
        ("diabetes", "diabetes, MLP", data.diabetes, 50),
        ("friedman", "Friedman, MLP", data.friedman, 100),
    ):
        for kind, its in (("pw", "pointwise"), ("mcd", "MCD"), ("bbb", "BBB")):
            yield Case(f"{name}_{kind}", f"{title} {its}", load, partial(mlp, kind, hidden), 200)
    several = "diabetes, MLP ensemble of 10", data.diabetes
    yield Case("diabetes_ens", *several, partial(ensemble, 50), 200)
    yield Case("friedman_sghmc", "Friedman, MLP SGHMC", data.friedman, partial(chain, 100), 200)
    yield Case("lenet_pw", "garments, LeNet pointwise", data.garments, lenet)
    yield Case("lenet_mcd", "garments, LeNet MCD", data.garments_raw, lenet_mcd)
    yield Case("lenet_bbb", "garments, LeNet BBB", data.garments, lenet_bbb)
    yield Case("convnet_bbb", "digits, ConvNet BBB", data.digits, convnet)
    for name, title, build in (
        ("mobilenet", "digits, MobileNetV2 MCD", models.MobileNet_MCD),
        ("resnet20", "digits, ResNet-20 MCD", models.ResNet20_MCD),
    ):
        yield Case(name, title, data.digits, partial(deep, build), rows=50, large=True)
    yield Case("unet", "denoising, U-Net MCD", data.blobs, unet, rows=20, large=True)


def model_of(case: Case, rows: Data, seed: int) -> Model:
    """Read a network's FLOAT Model with its calibration rows; train it unless that is done."""
    path = FOLDER / f"{case.name}-{seed}-{_digest()}.qbnn"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        members = [member.eval() for member in case.make(rows, seed)]
        most = LARGE_CALIBRATION if case.large else CALIBRATION
        count = min(most, len(rows.x_train))
        chosen = rows.x_train[np.linspace(0, len(rows.x_train) - 1, count).round().astype(int)]
        source = members if len(members) > 1 else members[0]
        qbnnc.save(source, path, chosen[:2], calibration=chosen)
    return format.load(path)


def _digest() -> str:
    """Identify the code, the data and the version of torch that decide what is trained."""
    files = [Path(__file__), Path(data.__file__), Path(training.__file__)]
    files += sorted(Path(models.__file__).parent.glob("*.py"))
    files += sorted((ROOT / "tools" / "bench" / "data").glob("*.npz"))
    found = hashlib.sha256(torch.__version__.encode())
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()[:12]


def mlp(kind: str, hidden: int, rows: Data, seed: int) -> list[nn.Module]:
    """One network of a table: pointwise, with dropout or with Gaussian weights."""
    build = {"pw": models.MLP, "mcd": models.MLP_MCD, "bbb": models.MLP_BBB}[kind]
    recipe = {
        "pw": Recipe(epochs=60, batch=64, rate=2e-3, decay=1e-3),
        "mcd": Recipe(epochs=150, batch=64, rate=2e-3),
        "bbb": Recipe(epochs=250, batch=64, rate=3e-3, kl_weight=0.1, prior=0.3),
    }[kind]
    net = build(rows.x_train.shape[1], hidden)
    training.fit(net, training.gaussian_nll, *_tensors(rows), recipe)
    return [net]


def ensemble(hidden: int, rows: Data, seed: int) -> list[nn.Module]:
    """Ten networks of a table, each trained from a start of its own."""
    return [mlp("pw", hidden, rows, seed)[0] for _ in range(10)]


def chain(hidden: int, rows: Data, seed: int) -> list[nn.Module]:
    """Ten members of a chain of SGHMC."""
    recipe = ChainRecipe(burn_in=150, spacing=15, batch=64, rate=5e-5, members=10)
    net = models.MLP(rows.x_train.shape[1], hidden)
    found = training.sample(net, training.gaussian_nll, *_tensors(rows), recipe)
    members = []
    for weights in found:
        members.append(models.MLP(rows.x_train.shape[1], hidden))
        members[-1].load_state_dict(weights)
    return list(members)


def lenet(rows: Data, seed: int) -> list[nn.Module]:
    """The bundled network; it has one seed."""
    return [_bundled(models.LeNet(), ROOT / "tests" / "data" / "lenet.pt")]


def lenet_mcd(rows: Data, seed: int) -> list[nn.Module]:
    return [_bundled(models.LeNet_MCD(), ROOT / "tools" / "demo" / "lenet_mcd.pt")]


def _bundled(net: nn.Module, path: Path) -> nn.Module:
    net.load_state_dict(torch.load(path, weights_only=True))
    return net


def lenet_bbb(rows: Data, seed: int) -> list[nn.Module]:
    """A network that learns the bundled one's probabilities, of images shifted at random.

    It starts with the bundled weights as means, and learns how much each may vary.
    """
    (teacher,) = lenet(rows, seed)
    net = models.LeNet_BBB()
    means = {name.replace("weight", "weight_mu"): w for name, w in teacher.state_dict().items()}
    net.load_state_dict(net.state_dict() | means)

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        down, across = (int(n) for n in torch.randint(-2, 3, (2,)))
        x = torch.roll(x, (down, across), (2, 3))
        return F.cross_entropy(module(x), teacher(x).detach().softmax(1))

    recipe = Recipe(epochs=60, batch=64, rate=1e-3, kl_weight=0.1, prior=0.1)
    images = torch.from_numpy(rows.x_train)
    training.fit(net, loss, images, torch.zeros(len(images)), recipe)
    return [net]


def convnet(rows: Data, seed: int) -> list[nn.Module]:
    net = models.ConvNet_BBB()
    recipe = Recipe(epochs=30, batch=64, rate=3e-3, kl_weight=0.1, prior=0.2)
    training.fit(net, training.cross_entropy, *_tensors(rows), recipe)
    return [net]


def deep(build: Callable[[], nn.Module], rows: Data, seed: int) -> list[nn.Module]:
    """A deep classifier of digits."""
    net = build()
    recipe = Recipe(epochs=10, batch=64, rate=3e-3)
    training.fit(net, training.cross_entropy, *_tensors(rows), recipe)
    return [net]


def unet(rows: Data, seed: int) -> list[nn.Module]:
    """A network that denoises; its log variance is bounded while it learns."""

    def loss(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mu, log_var = module(x)
        return F.gaussian_nll_loss(mu, y, log_var.clamp(-8, 5).exp())

    net = models.UNet_MCD()
    training.fit(net, loss, *_tensors(rows), Recipe(epochs=12, batch=64, rate=3e-3))
    return [net]


def _tensors(rows: Data) -> tuple[Tensor, Tensor]:
    assert rows.y_train is not None
    return torch.from_numpy(rows.x_train), torch.from_numpy(rows.y_train)
