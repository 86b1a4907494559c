"""Mistakes when evaluating: each is one sentence with its place, exit code 2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.score import evaluate
from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.support.errors import UserError
from qbnnc.support.several_inputs import Arrays
from tests.commands import Runner
from tests.conftest import DATA

DIABETES = f"{DATA / 'diabetes.npz'}:x_test,y_test"


@dataclass(frozen=True)
class Broken:
    """Gives NaN in one place."""

    model: Model
    samples: int = 20

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        made = np.zeros((20, len(np.asarray(x)), 10), np.float32)
        made[3, :, 2] = np.where(np.arange(first_row, first_row + made.shape[1]) == 7, np.nan, 0)
        return {"samples": made, "probabilities": made[0]}


def test_nan_is_never_a_metric(artefacts: Path) -> None:
    model = format.load(artefacts / "lenet.qbnn")
    data = LabelledData(np.zeros((9, 1, 28, 28), np.float32), np.zeros(9, np.int64))
    with pytest.raises(UserError, match=r"row 7 \(sample 3, seed 5\)"):
        evaluate(Broken(model), data, task=Task.CLASSIFICATION, seeds=[5], batch_size=4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((2, 1, 28, 28))}, "has no array y; it has x"),
        ({"x": np.zeros((2, 1, 28, 28)), "X": 0, "y": [0, 1]}, "has both x and X"),
        ({"x": np.zeros((2, 28, 28, 3)), "y": [0, 1]}, r"x: the shape is [2, 28, 28, 3]"),
        ({"x": np.zeros((2, 784)), "y": [0, 1]}, "give x.reshape(-1, 1, 28, 28)"),
        ({"x": np.zeros((3, 28, 28)), "y": [0, 1]}, "2 rows, and bad.npz:x has 3"),
        ({"x": np.zeros((0, 28, 28)), "y": []}, "x: no rows"),
        ({"x": np.full((2, 28, 28), np.nan), "y": [0, 1]}, "x: NaN in row 0"),
        ({"x": np.full((2, 28, 28), np.inf), "y": [0, 1]}, "x: infinity in row 0"),
        ({"x": np.zeros((2, 28, 28)), "y": [0, 10]}, "row 1 is 10, out of range; labels"),
        ({"x": np.zeros((2, 28, 28)), "y": [-1, 0]}, "row 0 is -1, out of range"),
        ({"x": np.zeros((2, 28, 28)), "y": [0, 0.5]}, "row 1 is 0.5, not a whole number"),
        ({"x": np.zeros((2, 28, 28)), "y": [np.nan, 0]}, "row 0 is nan, NaN"),
        ({"x": np.zeros((2, 28, 28)), "y": [0, np.inf]}, "row 1 is inf, out of range"),
        ({"x": np.zeros((2, 28, 28)), "y": np.eye(10)[:2]}, "y.argmax(axis=1)"),
        ({"x": np.zeros((2, 28, 28)), "y": np.zeros((2, 3))}, "labels are [rows]"),
        ({"x": np.zeros((2, 28, 28)), "y": ["a", "b"]}, "give numbers"),
        ({"x": np.zeros((2, 28, 28)), "y": 3}, "one number, and"),
    ],
)
def test_data_that_do_not_fit(
    qbnnc_command: Runner, artefacts: Path, arrays: dict[str, ArrayLike], message: str
) -> None:
    np.savez("bad.npz", allow_pickle=True, **{key: np.asarray(a) for key, a in arrays.items()})
    said = qbnnc_command.refused("evaluate", artefacts / "lenet.qbnn", "--data", "bad.npz")
    assert said.startswith("bad.npz")
    assert message in said


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("fashion.npz:x", "write fashion.npz:XKEY,YKEY"),
        ("fashion.npz:x,nothing", "no array 'nothing'"),
        ("missing.npz", "missing.npz: cannot be read (no such file"),
        ("README.md", "README.md: no .npz archive"),
    ],
)
def test_data_that_cannot_be_read(
    qbnnc_command: Runner, artefacts: Path, data: str, message: str
) -> None:
    assert message in qbnnc_command.refused("evaluate", artefacts / "lenet.qbnn", "--data", data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target-std", 0), "--target-std 0: give a positive number"),
        (("--target-mean", "nan"), "--target-mean nan: give a finite number"),
        (("--ood", "fashion.npz:x"), "fashion.npz:x: the shape is [200, 1, 28, 28]"),
        (("--samples", 21), "gives up to 20 samples, not 21"),
        (("--task", "classification"), "mlp.onnx: --task classification: it is a network of task"),
        (("--compare", "lenet_mcd.pt"), "lenet_mcd.pt: "),
    ],
)
def test_options_that_do_not_fit(
    qbnnc_command: Runner, artefacts: Path, options: tuple[object, ...], message: str
) -> None:
    asked = ("evaluate", artefacts / "mlp.onnx", "--data", DIABETES, *options)
    assert message in qbnnc_command.refused(*asked)


def test_something_must_be_evaluated(qbnnc_command: Runner, artefacts: Path) -> None:
    assert "no model" in qbnnc_command.refused("evaluate", "--data", "fashion.npz")
    both = (artefacts / "lenet.qbnn", artefacts / "mlp.qbnn")
    said = qbnnc_command.refused("evaluate", *both, "--data", "fashion.npz")
    assert "some classify and some regress" in said
