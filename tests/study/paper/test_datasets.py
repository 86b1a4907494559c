"""Folds, standardisation, and data that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from qbnnc.study.paper.training.datasets import Split, garments, table
from qbnnc.support.errors import UserError

ROWS, FOLDS = 23, 5
Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture
def raw() -> NDArray[np.float64]:
    """Features (ROWS, 3), the last constant, and a target: (ROWS, 4) in the user's units."""
    values = np.random.default_rng(0).normal(5, 3, (ROWS, 4))
    values[:, 2] = 7
    return values


@pytest.fixture
def arrays(raw: NDArray[np.float64]) -> Arrays:
    """One split of it, standardised with moments that are not those of a fold."""
    x, y = (raw[:, :3] - 1) / 2, (raw[:, 3:] - 4) / 8
    moments = {"x_mean": np.ones(3), "x_std": np.full(3, 2.0)}
    target = {"y_mean": np.array(4.0), "y_std": np.array(8.0)}
    rows = {"x_train": x[:15], "x_test": x[15:], "y_train": y[:15], "y_test": y[15:]}
    return {**rows, **moments, **target}


def values(split: Split, name: str) -> NDArray[np.float64]:
    return split.arrays[name].astype(np.float64)


def folds(folder: Path, arrays: Arrays) -> list[Split]:
    np.savez(folder / "town_split.npz", allow_pickle=False, **arrays)
    return [table(folder, "town", fold, FOLDS) for fold in range(FOLDS)]


def test_every_row_is_tested_once(tmp_path: Path, arrays: Arrays, raw: NDArray[np.float64]) -> None:
    targets = []
    for split in folds(tmp_path, arrays):
        assert len(split.arrays["x_train"]) + len(split.arrays["x_test"]) == ROWS
        standardised = values(split, "y_test")
        targets.append(standardised * values(split, "y_std") + values(split, "y_mean"))
    found = np.sort(np.concatenate(targets).ravel())
    np.testing.assert_allclose(found, np.sort(raw[:, 3]), rtol=1e-5)


def test_the_training_rows_standardise(tmp_path: Path, arrays: Arrays) -> None:
    for split in folds(tmp_path, arrays):
        x, y = values(split, "x_train"), values(split, "y_train")
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(x[:, :2].std(axis=0), 1, rtol=1e-5)
        np.testing.assert_allclose(x[:, 2], 0, atol=1e-6)  # constant: centred, not divided by 0
        np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-6)
        assert {split.arrays[name].dtype for name in ("x_train", "y_test")} == {np.dtype("f4")}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("y_test", np.zeros((3, 1)), "18 of y; save as many"),
        ("x_std", np.ones(2), "save (N, d), d"),
        ("y_train", np.zeros(15), "save (N, d), d"),
    ],
)
def test_tables_that_do_not_fit(
    tmp_path: Path, arrays: Arrays, name: str, value: NDArray[np.float64], says: str
) -> None:
    with pytest.raises(UserError) as raised:
        folds(tmp_path, arrays | {name: value})
    assert "town" in str(raised.value).partition(": ")[0]
    assert says in str(raised.value)


def test_too_many_folds(tmp_path: Path, arrays: Arrays) -> None:
    folds(tmp_path, arrays)
    with pytest.raises(UserError, match="ask for fewer"):
        table(tmp_path, "town", 0, ROWS + 1)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"town_split\.npz: cannot be read"):
        table(tmp_path, "town", 0, FOLDS)


def write_images(folder: Path, labels: NDArray[np.generic]) -> None:
    pixels = np.full((len(labels), 28, 28), 51, np.uint8)
    for name in ("fmnist_train12k", "fmnist_test", "mnist5k"):
        np.savez(folder / f"{name}.npz", X=pixels, y=labels)


def test_pixels_become_fractions(tmp_path: Path) -> None:
    write_images(tmp_path, np.array([0, 9], np.uint8))
    split = garments(tmp_path)
    for name in ("x_train", "x_test", "ood"):
        assert split.arrays[name].shape == (2, 1, 28, 28)
        assert split.arrays[name].dtype == np.float32
        np.testing.assert_allclose(values(split, name), 0.2, rtol=1e-6)
    assert split.arrays["y_test"].tolist() == [0, 9]
    assert split.arrays["y_train"].dtype == np.int64


@pytest.mark.parametrize("label", [10, 0.5, -1])
def test_labels_that_are_none(tmp_path: Path, label: float) -> None:
    write_images(tmp_path, np.array([label, label]))
    with pytest.raises(UserError, match="other labels than 0 to 9"):
        garments(tmp_path)
