"""The data of the networks whose fidelity is measured; they ship with the project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qbnnc.ir.head import Task

ROOT = Path(__file__).resolve().parents[3]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Rows for training, for measuring, and out of the distribution: inputs [N, *shape] float32.

    `y` are labels [N] int64, or targets [N, ...] float32. `y_train` is None for images of garments,
    which come without labels; their networks are trained already, or by another network.
    """

    task: Task
    x_train: Floats
    y_train: NDArray[np.generic] | None
    x: Floats
    y: NDArray[np.generic]
    ood: Floats

    def cut(self, rows: int) -> Data:
        """The first rows to measure, and as many out of the distribution."""
        return Data(
            self.task,
            self.x_train,
            self.y_train,
            self.x[:rows],
            self.y[:rows],
            self.ood[:rows],
        )


def diabetes() -> Data:
    with np.load(ROOT / "tests" / "data" / "diabetes.npz") as file:
        return _table(*(file[name] for name in ("x_train", "y_train", "x_test", "y_test")))


def friedman() -> Data:
    """Friedman's first function of 8 numbers, three of which do not count, with noise that grows.

    y = 10 sin(pi u0 u1) + 20 (u2 - .5)^2 + 10 u3 + 5 u4, u uniform in 0..1. Source: Friedman,
    "Multivariate adaptive regression splines", 1991.
    """
    rng = np.random.default_rng(1991)
    u = rng.uniform(size=(1030, 8))
    y = 10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2
    y += 10 * u[:, 3] + 5 * u[:, 4] + (0.5 + 2 * u[:, 5]) * rng.standard_normal(len(u))
    x = ((u - 0.5) * np.sqrt(12)).astype(np.float32)
    target = ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    return _table(x[:824], target[:824], x[824:], target[824:])


def _table(
    x_train: Floats, y_train: NDArray[np.generic], x: Floats, y: NDArray[np.generic]
) -> Data:
    """A standardised table; shifted rows are wider by half, with noise of one deviation."""
    noise = np.random.default_rng(5).standard_normal(x.shape, np.float32)
    return Data(Task.REGRESSION, x_train, y_train, x, y, 1.5 * x + noise)


def garments() -> Data:
    """FashionMNIST with pixels 0..1; digits of MNIST are out of the distribution."""
    with np.load(ROOT / "tools" / "demo" / "fashion.npz") as file:
        x_train, x, ood = (file[k].astype(np.float32) / 255 for k in ("calib", "x", "ood"))
        labels = file["y"].astype(np.int64)
    return Data(Task.CLASSIFICATION, x_train, None, x, labels, ood)


def garments_raw() -> Data:
    """The same images with pixels 0..255."""
    data = garments()
    raw = (data.x_train * 255, data.x * 255, data.ood * 255)
    return Data(data.task, raw[0].round(), None, raw[1].round(), data.y, raw[2].round())


def digits() -> Data:
    """Digits of 8 x 8 pixels 0..1; shrunken garments are out of the distribution."""
    with np.load(ROOT / "tools" / "bench" / "data" / "digits.npz") as file:
        x, y = file["x"].astype(np.float32) / 16, file["y"].astype(np.int64)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1200], order[1200:]
    pages = torch.from_numpy(garments().x)
    ood: Floats = torch.nn.functional.adaptive_avg_pool2d(pages, 8).numpy()
    return Data(Task.CLASSIFICATION, x[train], y[train], x[test], y[test], ood)


def blobs() -> Data:
    """A denoising task: one to three bright spots on 16 x 16 pixels; noise grows with them.

    Brighter images that are upside down and noisier are out of the distribution.
    """
    rng = np.random.default_rng(0)
    x_train, y_train = _spots(rng, 800)
    x, y = _spots(rng, 100)
    other, _ = _spots(rng, 100)
    noise = rng.standard_normal(other.shape).astype(np.float32)
    ood = 2 * other[:, :, ::-1] + np.float32(0.5) * noise
    return Data(Task.REGRESSION, x_train, y_train, x, y, ood)


def _spots(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Noisy images and clean ones, [count, 1, 16, 16] each."""
    rows, columns = np.mgrid[:16, :16]
    clean = np.zeros((count, 1, 16, 16))
    for image in clean[:, 0]:
        for _ in range(rng.integers(1, 4)):
            (y, x), radius, height = rng.uniform(2, 14, 2), rng.uniform(1, 3.5), rng.uniform(0.4, 1)
            image += height * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * radius**2))
    noisy = clean + 0.25 * rng.standard_normal(clean.shape) * (0.3 + clean)
    return noisy.astype(np.float32), clean.astype(np.float32)


Load = Callable[[], Data]
