"""Reference networks in integers against float: means over seeds, L = 20.

    python -m qbnnc.study.paper.reference_nets NETS DATA [--networks lenet_mcd ...]
        [--bits w8a7 w4a4]

NETS is a folder with models.py (MLP, LeNet5, their _MCD and _BBB forms, ResNet18) and state_dicts;
an SGHMC file holds a list of them:

    mlp_{boston,concrete}_{pointwise,mcd_p0.1,bbb,sghmc}.pt
    lenet_fmnist_{pointwise,mcd_p0.2,bbb,sghmc}.pt
    resnet18_w8_tintfmnist_mcd_p0.15.pt

DATA is a folder with arrays:

    {boston,concrete}_split.npz (x_train, x_test, y_test)
    fmnist_{train12k,test}.npz, mnist5k.npz (X uint8, y)
    tintfmnist_test300_u8.npz (X uint8, y, conf)

Calibration uses the first 512 training rows. The coloured images have no training rows, so that
their out-of-distribution images calibrate. A line shows a network at one width: float -> compiled
(difference, two standard errors of it). Both draw the same masks and eps.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.evaluation.predictors import float_samples as float_samples_of
from qbnnc.evaluation.statistics import class_statistics, moments
from qbnnc.ir.model import Model
from qbnnc.loading.sources import SourceOptions, read
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.runtime import load
from qbnnc.runtime.metrics import (
    average_predictive_entropy,
    classification_scores,
    gaussian_nll,
    rmse,
)

Floats = NDArray[np.float32]
Samples = Callable[[Floats, int], tuple[Floats, ...]]  # (x, seed) -> outputs [L, B, ...]
BATCH = 500


@dataclass(frozen=True)
class Data:
    """Arrays of a data set; `ood`, out-of-distribution inputs, is for classifiers."""

    calibration: Floats
    x: Floats
    y: NDArray[np.generic]
    ood: Floats | None = None


@dataclass(frozen=True)
class Network:
    """A file of weights, and the factory of the module that they belong to."""

    file: str
    factory: str
    arguments: dict[str, object] = field(default_factory=dict)


def regression(folder: Path, name: str) -> Data:
    """Standardised features and targets."""
    data = np.load(folder / f"{name}_split.npz")
    return Data(data["x_train"][:512], data["x_test"], data["y_test"].reshape(-1))


def fashion(folder: Path) -> Data:
    """FashionMNIST test[:4000], and MNIST[:1000] out of distribution, pixels/255."""
    train, test, digits = (
        np.load(folder / f"{name}.npz") for name in ("fmnist_train12k", "fmnist_test", "mnist5k")
    )
    calibration, x, ood = (
        (part["X"][:count, None] / np.float32(255)).astype(np.float32)
        for part, count in ((train, 512), (test, 4000), (digits, 1000))
    )
    return Data(calibration, x, test["y"][:4000], ood)


def coloured(folder: Path) -> Data:
    """300 FashionMNIST images in random colours, 150 OOD digits, (pixels/255-.29)/.24."""
    data = np.load(folder / "tintfmnist_test300_u8.npz")
    x, ood = (
        ((data[key] / np.float32(255) - np.float32(0.29)) / np.float32(0.24)).astype(np.float32)
        for key in ("X", "conf")
    )
    return Data(ood, x, data["y"], ood)


def networks(data: Path) -> dict[str, tuple[Network, Callable[[], Data]]]:
    """Every network by name, with the loader of its data."""
    found: dict[str, tuple[Network, Callable[[], Data]]] = {}
    kinds = {"pointwise": "", "mcd": "_MCD", "bbb": "_BBB", "sghmc": ""}
    for kind, suffix in kinds.items():
        for name, features in (("boston", 13), ("concrete", 8)):
            file = f"mlp_{name}_{'mcd_p0.1' if kind == 'mcd' else kind}.pt"
            arguments: dict[str, object] = {"in_features": features}
            arguments |= {"p": 0.1} if kind == "mcd" else {}
            network = Network(file, f"MLP{suffix}", arguments)
            found[f"{name}_{kind}"] = network, partial(regression, data, name)
        file = f"lenet_fmnist_{'mcd_p0.2' if kind == 'mcd' else kind}.pt"
        arguments = {"p": 0.2} if kind == "mcd" else {}
        found[f"lenet_{kind}"] = Network(file, f"LeNet5{suffix}", arguments), lambda: fashion(data)
    resnet = Network("resnet18_w8_tintfmnist_mcd_p0.15.pt", "ResNet18", {"width": 8, "p": 0.15})
    return found | {"resnet18_mcd": (resnet, lambda: coloured(data))}


def trained(network: Network, nets: Path, data: Data) -> Model:
    """The FLOAT Model, with calibration rows."""
    source = SourceOptions(f"models:{network.factory}", network.arguments)
    return read(nets / network.file, data.calibration, source)


def float_samples(model: Model) -> Samples:
    """Samples in float32, with the masks and eps of the compiled model: differences are paired."""
    predictor = FloatPredictor.of(model)

    def draw(x: Floats, seed: int) -> tuple[Floats, ...]:
        parts = [
            float_samples_of(predictor.model, x[i : i + BATCH], predictor.samples, seed, i)
            for i in range(0, len(x), BATCH)
        ]
        return tuple(np.concatenate(column, axis=1) for column in zip(*parts, strict=True))

    return draw


def compiled_samples(model: Model, bits: str) -> Samples:
    """Samples of the compiled model in our runtime."""
    assert model.calibration is not None
    options = Options(Quantisation(Bits.parse(bits)))
    session = load(quantise_model(model, model.calibration, options))
    names = session.model.head.sample_names(len(session.model.graph.outputs))

    def draw(x: Floats, seed: int) -> tuple[Floats, ...]:
        prediction = session.predict(x, seed=seed)
        return tuple(prediction[name] for name in names)

    return draw


def measures(draw: Samples, data: Data, seed: int) -> dict[str, float]:
    """RMSE and NLL; or error and ECE in percent, NLL, and aPE on test and OOD data."""
    samples = draw(data.x, seed)
    if data.ood is None:
        mean, epistemic, aleatoric = moments(samples)
        y = data.y.reshape(mean.shape)
        return {"rmse": rmse(mean, y), "nll": gaussian_nll(mean, epistemic + aleatoric, y)}
    p, information = class_statistics(samples)
    scores = classification_scores(p, data.y, information)
    ood, _ = class_statistics(draw(data.ood, seed))
    return {
        "error": 100 * scores.error,
        "nll": scores.nll,
        "ece": 100 * scores.ece,
        "ape": scores.entropy,
        "ood_ape": average_predictive_entropy(ood),
    }


def report(name: str, model: Model, data: Data, bits: Sequence[str], seeds: int) -> Iterator[str]:
    """A line for each width: every measure in float and compiled, as means over the seeds."""
    count = seeds if model.stochastic else 1
    draw = float_samples(model)
    real = [measures(draw, data, seed) for seed in range(count)]
    for width in bits:
        draw = compiled_samples(model, width)
        ours = [measures(draw, data, seed) for seed in range(count)]
        yield f"{name} {width}: " + "; ".join(_compared(key, real, ours) for key in real[0])


def _compared(key: str, real: list[dict[str, float]], ours: list[dict[str, float]]) -> str:
    before, after = (np.array([run[key] for run in runs]) for runs in (real, ours))
    changes = after - before
    error = 2 * changes.std(ddof=1) / np.sqrt(len(changes)) if len(changes) > 1 else 0.0
    return f"{key} {before.mean():.4f} -> {after.mean():.4f} ({changes.mean():+.4f}, {error:.4f})"


def main() -> None:
    """Measure the networks named, or all."""
    parser = argparse.ArgumentParser(description="Reference networks in integers and float.")
    parser.add_argument("nets", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", nargs="*")
    parser.add_argument("--bits", nargs="*", default=["w8a7"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    sys.path.insert(0, str(options.nets))
    torch.set_num_threads(1)
    for name, (network, load_data) in networks(options.data).items():
        if not options.networks or name in options.networks:
            data = load_data()
            model = trained(network, options.nets, data)
            for line in report(name, model, data, options.bits, options.seeds):
                print(line, flush=True)


if __name__ == "__main__":
    main()
