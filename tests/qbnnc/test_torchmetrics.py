"""Metrics of artefacts beside torchmetrics', on the same predictions; and where they differ.

Torchmetrics takes seconds to import, which only the process that runs these tests shall pay.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import qbnnc
from qbnnc.runtime import load, metrics

Fashion = dict[str, NDArray[np.uint8]]
Diabetes = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def scores(artefacts: Path, fashion: Fashion) -> dict[str, float]:
    (found,) = qbnnc.evaluate(
        artefacts / "lenet.qbnn", (fashion["x"], fashion["y"]), ood=fashion["ood"], samples=8
    )
    return {name: measure.mean for name, measure in found.scores.measures.items()}


def test_a_classification_batch_by_batch(
    artefacts: Path, fashion: Fashion, scores: dict[str, float]
) -> None:
    """Torchmetrics gathers batches, and is given the float32 probabilities."""
    from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError
    from torchmetrics.text import Perplexity

    stream = load(artefacts / "lenet.qbnn").stream(samples=8)
    accuracy, perplexity = MulticlassAccuracy(10, average="micro"), Perplexity()
    ece = MulticlassCalibrationError(10, n_bins=10, norm="l1")
    for start in range(0, 200, 32):
        made = stream.predict(fashion["x"][start : start + 32])
        p = torch.from_numpy(made["probabilities"])
        y = torch.from_numpy(fashion["y"][start : start + 32].astype(np.int64))
        accuracy.update(p, y)
        ece.update(p, y)
        perplexity.update(p.log()[None], y[None])
    assert scores["error"] == pytest.approx(1 - float(accuracy.compute()), abs=1e-6)
    assert scores["nll"] == pytest.approx(np.log(float(perplexity.compute())), rel=1e-4)
    assert scores["ece"] == pytest.approx(float(ece.compute()), abs=1e-5)


def test_out_of_distribution_inputs(
    artefacts: Path, fashion: Fashion, scores: dict[str, float]
) -> None:
    from torchmetrics.classification import BinaryAUROC

    session, area = load(artefacts / "lenet.qbnn"), BinaryAUROC()
    for x, outside in ((fashion["x"], 0), (fashion["ood"], 1)):
        entropy = torch.from_numpy(session.predict(x, 8)["entropy"])
        area.update(entropy / np.log(10), torch.full(entropy.shape, outside))
    assert scores["ood_auroc"] == pytest.approx(float(area.compute()), abs=1e-4)


def test_a_regression(artefacts: Path, diabetes: Diabetes) -> None:
    from torchmetrics import MeanSquaredError

    x, y = diabetes["x_test"], diabetes["y_test"]
    (found,) = qbnnc.evaluate(artefacts / "mlp.qbnn", (x, y), samples=8)
    made = load(artefacts / "mlp.qbnn").predict(x, 8)
    mean, variance, target = (torch.from_numpy(a) for a in (made["mean"], made["variance"], y))
    rmse = MeanSquaredError(squared=False)
    rmse.update(mean, target)
    measures = found.scores.measures
    assert measures["rmse"].mean == pytest.approx(float(rmse.compute()), rel=1e-5)
    normal = torch.distributions.Normal(mean, variance.sqrt())
    assert measures["nll"].mean == pytest.approx(-float(normal.log_prob(target).mean()), rel=1e-5)
    low, high = normal.icdf(torch.tensor(0.05)), normal.icdf(torch.tensor(0.95))
    inside = ((target >= low) & (target <= high)).float().mean()
    assert measures["coverage"].mean == pytest.approx(float(inside), abs=1e-6)


def ece(p: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Torchmetrics' error of ten bins."""
    from torchmetrics.functional.classification import multiclass_calibration_error

    arrays = torch.from_numpy(p), torch.from_numpy(y)
    return float(multiclass_calibration_error(*arrays, num_classes=p.shape[1], n_bins=10))


def test_ece_differs_on_the_edges_of_bins() -> None:
    """Ours are closed above, torchmetrics' below: .75 is inside, .5 and .8 are on edges."""
    y = np.array([0, 1])
    edges = np.array([[0.8, 0.2], [0.75, 0.25]])  # right with .8, wrong with .75
    assert metrics.expected_calibration_error(edges, y) == pytest.approx(abs(0.5 - 0.775))
    assert ece(edges, y) == pytest.approx((0.2 + 0.75) / 2)
    moved = edges + np.array([[-1e-4, 1e-4], [0, 0]])
    assert metrics.expected_calibration_error(moved, y) == pytest.approx(ece(moved, y), abs=1e-6)


def test_ece_differs_where_a_probability_is_one() -> None:
    """Torchmetrics has one more bin, of probability 1 alone."""
    y = np.array([0, 1])
    certain = np.array([[1.0, 0.0], [0.95, 0.05]])  # right with 1, wrong with .95
    assert metrics.expected_calibration_error(certain, y) == pytest.approx(abs(0.5 - 0.975))
    assert ece(certain, y) == pytest.approx((0.0 + 0.95) / 2)


def test_ece_of_two_classes_is_of_the_greatest_probability() -> None:
    """BinaryCalibrationError bins the probability of class 1 instead."""
    from torchmetrics.classification import BinaryCalibrationError

    y, p1 = np.array([1, 1]), np.array([0.44, 0.56])  # class 0, wrong; class 1, right
    ours = metrics.expected_calibration_error(np.stack([1 - p1, p1], axis=1), y)
    binary = BinaryCalibrationError(n_bins=10, norm="l1")
    binary.update(torch.from_numpy(p1), torch.from_numpy(y))
    assert ours == pytest.approx(0.56 - 0.5)
    assert float(binary.compute()) == pytest.approx((0.56 + 0.44) / 2)
