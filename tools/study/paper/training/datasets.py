"""The data of the study, standardised as the networks see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qbnnc.loading.arrays import read_array
from qbnnc.support.errors import FileError, InputError

Array = NDArray[np.generic]
Floats = NDArray[np.floating]
ORDER = 0  # the seed of the permutation that folds are cut from


@dataclass(frozen=True, slots=True)
class Split:
    """Training and test rows of one network.

    Fields:
        arrays: x_train, x_test float32; y_train, y_test float32 (N, 1) or int64 labels (N,);
            for regression y_mean, y_std float64 (): y * y_std + y_mean is in the user's units;
            for images `ood`, float32 images of another kind than the network was trained on.
    """

    arrays: Mapping[str, Array]

    @property
    def features(self) -> int:
        """Values of one row."""
        return int(np.prod(self.arrays["x_train"].shape[1:]))


def table(folder: Path, name: str, fold: int, folds: int) -> Split:
    """Fold `fold` of `folds` of FOLDER/NAME_split.npz, standardised with its training rows.

    The file holds one split: x_train, x_test (N, d), y_train, y_test (N, 1), standardised with
    x_mean, x_std, y_mean, y_std. All rows are first joined in the user's units, and permuted alike
    for every fold.

    Raises FileError if the file or an array is missing or of another shape, InputError if there
    are fewer rows than folds.
    """
    x, y = (_in_users_units(folder / f"{name}_split.npz", key) for key in ("x", "y"))
    if len(x) != len(y):
        raise InputError(f"{len(x)} rows of x, {len(y)} of y", name, "save as many of both")
    if len(x) < folds:
        raise InputError(f"{len(x)} rows cannot be cut into {folds} folds", name, "ask for fewer")
    parts = np.array_split(np.random.default_rng(ORDER).permutation(len(x)), folds)
    test = parts[fold]
    train = np.concatenate([part for i, part in enumerate(parts) if i != fold])
    (x_train, x_test, _, _), (y_train, y_test, mean, std) = (
        _standardised(values, train, test) for values in (x, y)
    )
    return Split(
        {
            "x_train": x_train,
            "y_train": y_train,
            "x_test": x_test,
            "y_test": y_test,
            "y_mean": mean.reshape(()),
            "y_std": std.reshape(()),
        }
    )


def _in_users_units(file: Path, key: str) -> Floats:
    """All rows of `key`, the file's training rows first: (N, d) float64."""
    mean, std, train, test = (
        read_array(f"{file}:{key}_{part}").astype(np.float64)
        for part in ("mean", "std", "train", "test")
    )
    columns = train.shape[1:]
    if train.ndim != 2 or test.shape[1:] != columns or not mean.size == std.size == columns[0]:
        shapes = ", ".join(str(part.shape) for part in (train, test, mean, std))
        raise FileError(f"shapes of {key}_train, test, mean, std: {shapes}", file, "save (N, d), d")
    return np.concatenate([train, test]) * std + mean


def _standardised(
    values: Floats, train: Array, test: Array
) -> tuple[Floats, Floats, Floats, Floats]:
    """(training rows, test rows) float32 and the training rows' (mean, std) float64.

    A column that is constant in the training rows is only centred.
    """
    mean, std = values[train].mean(axis=0), values[train].std(axis=0)
    std = np.where(std > 0, std, 1.0)
    scaled = ((values - mean) / std).astype(np.float32)
    return scaled[train], scaled[test], mean, std


def garments(folder: Path) -> Split:
    """Read 12,000 training and 10,000 test images of FashionMNIST; `ood` are 5,000 of MNIST.

    The files in FOLDER are fmnist_train12k.npz, fmnist_test.npz and mnist5k.npz, each with `X`
    (N, 28, 28) uint8 and `y` (N,). Images are (N, 1, 28, 28) float32, pixels / 255. Raises
    FileError if a file is missing.
    """
    x_train, y_train = _images(folder / "fmnist_train12k.npz")
    x_test, y_test = _images(folder / "fmnist_test.npz")
    ood, _ = _images(folder / "mnist5k.npz")
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return Split(arrays | {"ood": ood})


def _images(file: Path) -> tuple[Array, Array]:
    pixels, labels = read_array(f"{file}:X"), read_array(f"{file}:y")
    if pixels.dtype != np.uint8 or pixels.shape != (*labels.shape, 28, 28):
        shapes = f"X is {pixels.dtype} {pixels.shape}, y {labels.shape}"
        raise FileError(shapes, file, "save X (N, 28, 28) uint8 and y (N,)")
    scaled = pixels[:, None].astype(np.float32) / np.float32(255)
    if len(labels) == 0 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > 9:
        raise FileError("y holds other labels than 0 to 9, or none", file, "save those")
    return scaled, labels.astype(np.int64)
