"""What w8a7 costs reference networks: compiled against float, mean over seeds 0..9, L = 20.

    python tools/study/reference_nets.py NETS DATA [--networks lenet_mcd ...]

NETS: a folder with models.py (MLP, MLP_MCD, LeNet5, LeNet5_MCD) and state_dicts
mlp_{boston,concrete}_{pointwise,mcd_p0.1}.pt, lenet_fmnist_{pointwise,mcd_p0.2}.pt. DATA: a folder
with {boston,concrete}_split.npz (x_train, x_test, y_test), fmnist_{train12k,test}.npz and
mnist5k.npz (X uint8, y). Calibration uses the first 512 training rows. Prints one line a network.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import qbnnc
from qbnnc.runtime import load

Floats = NDArray[np.float32]
Samples = Callable[[Floats, int], tuple[Floats, ...]]  # (x, seed) -> outputs [L, B, ...]
SEEDS, LENGTH, BATCH = range(10), 20, 500


@dataclass(frozen=True)
class Task:
    """Data of one network. `confusion` is for classifiers."""

    calibration: Floats
    x: Floats
    y: NDArray[np.generic]
    confusion: Floats | None = None


def regression(folder: Path, name: str) -> Task:
    """Standardised features and targets."""
    data = np.load(folder / f"{name}_split.npz")
    return Task(data["x_train"][:512], data["x_test"], data["y_test"].reshape(-1))


def fashion(folder: Path) -> Task:
    """FashionMNIST test[:4000], MNIST[:1000] as confusion, pixels/255."""
    train, test, digits = (
        np.load(folder / f"{name}.npz") for name in ("fmnist_train12k", "fmnist_test", "mnist5k")
    )
    pixels = (
        (part["X"][:count, None] / np.float32(255)).astype(np.float32)
        for part, count in ((train, 512), (test, 4000), (digits, 1000))
    )
    calibration, x, confusion = pixels
    return Task(calibration, x, test["y"][:4000], confusion)


def float_samples(module: nn.Module, length: int) -> Samples:
    """Samples of the module itself, L passes."""

    def draw(x: Floats, seed: int) -> tuple[Floats, ...]:
        torch.manual_seed(seed)
        passes = []
        with torch.no_grad():
            for _ in range(length):
                parts = [
                    module(torch.from_numpy(p)) for p in np.split(x, range(BATCH, len(x), BATCH))
                ]
                outputs = [p if isinstance(p, tuple) else (p,) for p in parts]
                passes.append([torch.cat(column).numpy() for column in zip(*outputs, strict=True)])
        return tuple(np.stack(column) for column in zip(*passes, strict=True))

    return draw


def compiled_samples(module: nn.Module, task: Task, bits: str) -> Samples:
    """Samples of the compiled artefact in our runtime."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.qbnn"
        model = qbnnc.compile(module, path, bits=bits, calibration=task.calibration)
        session = load(path)
    names = model.head.sample_names(len(model.graph.outputs))

    def draw(x: Floats, seed: int) -> tuple[Floats, ...]:
        prediction = session.predict(x, seed=seed)
        return tuple(prediction[name] for name in names)

    return draw


def measures(draw: Samples, task: Task, seed: int) -> dict[str, float]:
    """RMSE and NLL, or error, NLL, aPE and aPE on confusion data (paper, equations (3) to (5))."""
    samples = draw(task.x, seed)
    if task.confusion is None:
        mean = samples[0].astype(np.float64).mean(axis=0).reshape(-1)
        return {"rmse": float(np.sqrt(((mean - task.y) ** 2).mean()))}
    p = probabilities(samples[0])
    chosen = p[np.arange(len(p)), task.y.astype(int)]
    return {
        "error": float(100 * (p.argmax(axis=1) != task.y).mean()),
        "nll": float(-np.log(chosen + 1e-12).mean()),
        "ape": entropy(p),
        "confusion_ape": entropy(probabilities(draw(task.confusion, seed)[0])),
    }


def probabilities(logits: Floats) -> NDArray[np.float64]:
    """Mean softmax over the samples."""
    wide = logits.astype(np.float64)
    each = np.exp(wide - wide.max(axis=-1, keepdims=True))
    mean: NDArray[np.float64] = (each / each.sum(axis=-1, keepdims=True)).mean(axis=0)
    return mean


def entropy(p: NDArray[np.float64]) -> float:
    """Average predictive entropy in nats."""
    return float(-(p * np.log(p + 1e-12)).sum(axis=1).mean())


def networks(nets: Path, data: Path) -> dict[str, tuple[nn.Module, Callable[[], Task]]]:
    """Every network by name, trained, with what loads its data."""
    sys.path.insert(0, str(nets))
    models = importlib.import_module("models")
    found: dict[str, tuple[nn.Module, Callable[[], Task]]] = {}
    for name, features in (("boston", 13), ("concrete", 8)):
        for kind, net in (
            ("pointwise", models.MLP(features)),
            ("mcd", models.MLP_MCD(features, p=0.1)),
        ):
            file = f"mlp_{name}_{'mcd_p0.1' if kind == 'mcd' else kind}.pt"
            found[f"{name}_{kind}"] = (
                trained(net, nets / file),
                lambda name=name: regression(data, name),  # type: ignore[misc]
            )
    for kind, net in (("pointwise", models.LeNet5()), ("mcd", models.LeNet5_MCD(p=0.2))):
        file = f"lenet_fmnist_{'mcd_p0.2' if kind == 'mcd' else kind}.pt"
        found[f"lenet_{kind}"] = trained(net, nets / file), lambda: fashion(data)
    return found


def trained(net: nn.Module, file: Path) -> nn.Module:
    """The module with its weights, in eval mode."""
    net.load_state_dict(torch.load(file, weights_only=True))
    return net.eval()


def report(name: str, net: nn.Module, task: Task, bits: str) -> str:
    """float -> compiled for each measure: mean over the seeds, difference, 2 standard errors."""
    stochastic = name.endswith("mcd")
    seeds = SEEDS if stochastic else range(1)
    both = [float_samples(net, LENGTH if stochastic else 1), compiled_samples(net, task, bits)]
    runs = [[measures(draw, task, seed) for seed in seeds] for draw in both]
    parts = []
    for key in runs[0][0]:
        real, ours = (np.array([run[key] for run in side]) for side in runs)
        error = 2 * np.sqrt((real.var(ddof=1) + ours.var(ddof=1)) / len(real)) if stochastic else 0
        difference = ours.mean() - real.mean()
        parts.append(
            f"{key} {real.mean():.4f} -> {ours.mean():.4f} ({difference:+.4f}, {error:.4f})"
        )
    return f"{name} {bits}: " + "; ".join(parts)


def main() -> None:
    """Measure the networks named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("nets", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--networks", nargs="*")
    parser.add_argument("--bits", default="w8a7")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (net, task) in networks(options.nets, options.data).items():
        if not options.networks or name in options.networks:
            print(report(name, net, task(), options.bits), flush=True)


if __name__ == "__main__":
    main()
