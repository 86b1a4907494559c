"""What integers cost reference networks: compiled against float, mean over seeds, L = 20.

    python tools/study/reference_nets.py NETS DATA [--networks lenet_mcd ...] [--bits w8a7]

NETS: a folder with models.py (MLP, LeNet5, their _MCD and _BBB forms, ResNet18) and state_dicts
mlp_{boston,concrete}_{pointwise,mcd_p0.1,bbb,sghmc}.pt, lenet_fmnist_{pointwise,mcd_p0.2,bbb,
sghmc}.pt, resnet18_w8_tintfmnist_mcd_p0.15.pt (sghmc: a list of state_dicts). DATA: a folder with
{boston,concrete}_split.npz (x_train, x_test, y_test), fmnist_{train12k,test}.npz, mnist5k.npz and
tintfmnist_test300_u8.npz (X uint8, y, conf). Calibration uses the first 512 training rows; of the
coloured images, which have no training rows, the confusion images. One line a network: float ->
compiled (difference, two standard errors of it).
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import qbnnc
from qbnnc.evaluation.statistics import class_statistics, moments
from qbnnc.runtime import load
from qbnnc.runtime.metrics import (
    average_predictive_entropy,
    classification_scores,
    gaussian_nll,
    rmse,
)

Floats = NDArray[np.float32]
Samples = Callable[[Floats, int], tuple[Floats, ...]]  # (x, seed) -> outputs [L, B, ...]
LENGTH, BATCH = 20, 500


@dataclass(frozen=True)
class Data:
    """`confusion` is for classifiers."""

    calibration: Floats
    x: Floats
    y: NDArray[np.generic]
    confusion: Floats | None = None


@dataclass(frozen=True)
class Network:
    """A file of weights, and what builds the module they belong to."""

    file: str
    factory: str
    arguments: dict[str, object] = field(default_factory=dict)

    @property
    def stochastic(self) -> bool:
        return self.factory.endswith(("_MCD", "_BBB")) or "_mcd" in self.file

    def modules(self, folder: Path) -> list[nn.Module]:
        """The trained module, or one for each member."""
        make = getattr(importlib.import_module("models"), self.factory)
        loaded = torch.load(folder / self.file, weights_only=True)
        modules = []
        for weights in loaded if isinstance(loaded, list) else [loaded]:
            module = make(**self.arguments)
            module.load_state_dict({k: v.float() for k, v in weights.items()})
            modules.append(module.eval())
        return modules


def regression(folder: Path, name: str) -> Data:
    """Standardised features and targets."""
    data = np.load(folder / f"{name}_split.npz")
    return Data(data["x_train"][:512], data["x_test"], data["y_test"].reshape(-1))


def fashion(folder: Path) -> Data:
    """FashionMNIST test[:4000], MNIST[:1000] as confusion, pixels/255."""
    train, test, digits = (
        np.load(folder / f"{name}.npz") for name in ("fmnist_train12k", "fmnist_test", "mnist5k")
    )
    calibration, x, confusion = (
        (part["X"][:count, None] / np.float32(255)).astype(np.float32)
        for part, count in ((train, 512), (test, 4000), (digits, 1000))
    )
    return Data(calibration, x, test["y"][:4000], confusion)


def coloured(folder: Path) -> Data:
    """300 FashionMNIST images in random colours, 150 digits as confusion, (pixels/255-.29)/.24."""
    data = np.load(folder / "tintfmnist_test300_u8.npz")
    x, confusion = (
        ((data[key] / np.float32(255) - np.float32(0.29)) / np.float32(0.24)).astype(np.float32)
        for key in ("X", "conf")
    )
    return Data(confusion, x, data["y"], confusion)


def networks(data: Path) -> dict[str, tuple[Network, Callable[[], Data]]]:
    """Every network by name, with what loads its data."""
    found: dict[str, tuple[Network, Callable[[], Data]]] = {}
    kinds = {"pointwise": "", "mcd": "_MCD", "bbb": "_BBB", "sghmc": ""}
    for kind, suffix in kinds.items():
        for name, features in (("boston", 13), ("concrete", 8)):
            file = f"mlp_{name}_{'mcd_p0.1' if kind == 'mcd' else kind}.pt"
            arguments: dict[str, object] = {"in_features": features}
            arguments |= {"p": 0.1} if kind == "mcd" else {}
            network = Network(file, f"MLP{suffix}", arguments)
            found[f"{name}_{kind}"] = network, lambda name=name: regression(data, name)  # type: ignore[misc]
        file = f"lenet_fmnist_{'mcd_p0.2' if kind == 'mcd' else kind}.pt"
        arguments = {"p": 0.2} if kind == "mcd" else {}
        found[f"lenet_{kind}"] = Network(file, f"LeNet5{suffix}", arguments), lambda: fashion(data)
    resnet = Network("resnet18_w8_tintfmnist_mcd_p0.15.pt", "ResNet18", {"width": 8, "p": 0.15})
    return found | {"resnet18_mcd": (resnet, lambda: coloured(data))}


def float_samples(network: Network, folder: Path) -> Samples:
    """Samples of the modules themselves: 20 passes, or one a member."""
    modules = network.modules(folder)
    if len(modules) == 1 and network.stochastic:
        modules *= LENGTH

    def draw(x: Floats, seed: int) -> tuple[Floats, ...]:
        torch.manual_seed(seed)
        with torch.no_grad():
            passes = [list(outputs(module, x)) for module in modules]
        return tuple(np.stack(column) for column in zip(*passes, strict=True))

    return draw


def outputs(module: nn.Module, x: Floats) -> Iterator[Floats]:
    """The outputs of one pass, in batches."""
    parts = [module(torch.from_numpy(p)) for p in np.split(x, range(BATCH, len(x), BATCH))]
    rows = [p if isinstance(p, tuple) else (p,) for p in parts]
    return (torch.cat(column).numpy() for column in zip(*rows, strict=True))


def compiled_samples(network: Network, nets: Path, data: Data, bits: str) -> Samples:
    """Samples of the compiled artefact in our runtime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.qbnn"
        model = qbnnc.compile(
            nets / network.file,
            path,
            bits=bits,
            calibration=data.calibration,
            model=f"models:{network.factory}",
            model_args=network.arguments,
        )
        session = load(path)
    names = model.head.sample_names(len(model.graph.outputs))

    def draw(x: Floats, seed: int) -> tuple[Floats, ...]:
        prediction = session.predict(x, seed=seed)
        return tuple(prediction[name] for name in names)

    return draw


def measures(draw: Samples, data: Data, seed: int) -> dict[str, float]:
    """RMSE and NLL; or error and ECE in percent, NLL, aPE, and aPE on confusion data."""
    samples = draw(data.x, seed)
    if data.confusion is None:
        mean, epistemic, aleatoric = moments(samples)
        y = data.y.reshape(mean.shape)
        return {"rmse": rmse(mean, y), "nll": gaussian_nll(mean, epistemic + aleatoric, y)}
    p, information = class_statistics(samples)
    scores = classification_scores(p, data.y, information)
    confusion, _ = class_statistics(draw(data.confusion, seed))
    return {
        "error": 100 * scores.error,
        "nll": scores.nll,
        "ece": 100 * scores.ece,
        "ape": scores.entropy,
        "confusion_ape": average_predictive_entropy(confusion),
    }


def report(name: str, network: Network, data: Data, nets: Path, bits: str, seeds: int) -> str:
    """float -> compiled for each measure: mean over the seeds, difference, 2 standard errors."""
    sides = [float_samples(network, nets), compiled_samples(network, nets, data, bits)]
    count = seeds if network.stochastic else 1
    runs = [[measures(draw, data, seed) for seed in range(count)] for draw in sides]
    parts = []
    for key in runs[0][0]:
        real, ours = (np.array([run[key] for run in side]) for side in runs)
        spread = [side.var(ddof=1) if count > 1 else 0.0 for side in (real, ours)]
        error = 2 * float(np.sqrt(sum(spread) / count))
        change = ours.mean() - real.mean()
        parts.append(f"{key} {real.mean():.4f} -> {ours.mean():.4f} ({change:+.4f}, {error:.4f})")
    return f"{name} {bits}: " + "; ".join(parts)


def main() -> None:
    """Measure the networks named, or all."""
    parser = argparse.ArgumentParser(description="What integers cost reference networks.")
    parser.add_argument("nets", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", nargs="*")
    parser.add_argument("--bits", default="w8a7")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    sys.path.insert(0, str(options.nets))
    torch.set_num_threads(1)
    for name, (network, data) in networks(options.data).items():
        if not options.networks or name in options.networks:
            line = report(name, network, data(), options.nets, options.bits, options.seeds)
            print(line, flush=True)


if __name__ == "__main__":
    main()
