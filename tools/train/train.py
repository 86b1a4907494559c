"""Train the networks that the repository carries, and cut the samples of data beside them.

    python -m tools.train.train FOLDER

FOLDER holds `fmnist_train12k.npz`, `fmnist_test.npz` (FashionMNIST) and `mnist5k.npz` (MNIST),
each with `X` (N, 28, 28) uint8 and `y` (N,). Nothing is downloaded; diabetes comes with
scikit-learn. Seeds are fixed and one thread is used, so that one version of torch on one kind of
CPU gives the same weights again. Takes about three minutes and prints the figures that
`tools/demo/README.md` quotes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn

from tools.models import MLP, MLP_MCD, LeNet, LeNet_MCD
from tools.train.fit import (
    classification_figures,
    cross_entropy,
    entropy,
    fit,
    gaussian_nll,
    regression_figures,
)

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "tools" / "demo"
DATA = ROOT / "tests" / "data"
SAMPLES = 20


def images(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 1, 28, 28) uint8 and labels (N,) uint8."""
    with np.load(file) as archive:
        return archive["X"][:, None], archive["y"]


def cut_images(folder: Path) -> None:
    """Write tools/demo/fashion.npz: every part is the first rows of its file."""
    calib, _ = images(folder / "fmnist_train12k.npz")
    x, y = images(folder / "fmnist_test.npz")
    ood, _ = images(folder / "mnist5k.npz")
    np.savez_compressed(
        DEMO / "fashion.npz", calib=calib[:256], x=x[:200], y=y[:200], ood=ood[:100]
    )


def train_classifiers(folder: Path) -> None:
    """Train `LeNet_MCD` on raw pixels and `LeNet` on scaled ones; print their figures."""
    x_train, y_train = map(torch.from_numpy, images(folder / "fmnist_train12k.npz"))
    x_test, y_test = map(torch.from_numpy, images(folder / "fmnist_test.npz"))
    ood = torch.from_numpy(images(folder / "mnist5k.npz")[0])
    nets: list[tuple[type[nn.Module], Path, int, int]] = [
        (LeNet_MCD, DEMO / "lenet_mcd.pt", 1, SAMPLES),
        (LeNet, DATA / "lenet.pt", 255, 1),
    ]
    for net, file, scale, samples in nets:
        torch.manual_seed(0)
        model = net()
        fit(model, cross_entropy, x_train / scale, y_train.long(), epochs=30, batch=64, decay=0.01)
        torch.save(model.state_dict(), file)
        print(f"{file.name}, all {len(y_test)} test images, L = {samples}:")
        print(f"  {classification_figures(model, x_test / scale, y_test.long(), samples)}")
        print("  the 200 of fashion.npz: ", end="")
        print(classification_figures(model, x_test[:200] / scale, y_test[:200].long(), samples))
        print(f"  entropy {entropy(model, x_test / scale, samples):.3f}", end="")
        print(f", on MNIST {entropy(model, ood / scale, samples):.3f} nats")


def diabetes() -> dict[str, np.ndarray]:
    """scikit-learn's diabetes, 90 rows held out, standardised with the training rows' moments."""
    x, y = load_diabetes(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(x))
    test, train = rows[:90], rows[90:]
    y = y[:, None]
    x = (x - x[train].mean(0)) / x[train].std(0)
    y = (y - y[train].mean(0)) / y[train].std(0)
    parts = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return {name: part.astype(np.float32) for name, part in parts.items()}


def train_regressors() -> None:
    """Train `MLP_MCD` and `MLP` on diabetes; write the split and the weights to tests/data."""
    parts = diabetes()
    np.savez_compressed(DATA / "diabetes.npz", allow_pickle=False, **parts)
    x_train, y_train, x_test, y_test = map(torch.from_numpy, parts.values())
    nets: list[tuple[type[nn.Module], str, int]] = [
        (MLP_MCD, "mlp_mcd.pt", SAMPLES),
        (MLP, "mlp.pt", 1),
    ]
    for net, name, samples in nets:
        torch.manual_seed(0)
        model = net(10)
        fit(model, gaussian_nll, x_train, y_train, epochs=30, batch=32, decay=0.1)
        torch.save(model.state_dict(), DATA / name)
        figures = regression_figures(model, x_test, y_test, samples)
        print(f"{name}, {len(y_test)} test rows, L = {samples}:\n  {figures}")


def main() -> None:
    """Train everything; the one argument is the folder of images."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of the image npz files")
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    cut_images(folder)
    train_regressors()
    train_classifiers(folder)


if __name__ == "__main__":
    main()
