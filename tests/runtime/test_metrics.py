"""Metrics: equations (3) to (6) by hand, against torchmetrics, and laws for any data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
)

from qbnnc.runtime import metrics
from qbnnc.support.errors import InputError

Float64 = NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)


def classes(seed: int, rows: int = 200, count: int = 5) -> tuple[Float64, NDArray[np.int64]]:
    """Make probabilities [rows, count], more right than wrong, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, count, rows)
    logits = rng.normal(size=(rows, count)) * 2
    logits[np.arange(rows), labels] += rng.uniform(0, 3)
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True), labels


@given(SEEDS)
def test_classification_is_what_torch_and_torchmetrics_say(seed: int) -> None:
    p, y = classes(seed)
    scores = metrics.classification_scores(p, y, np.zeros(len(p)))
    tp, ty = torch.from_numpy(p), torch.from_numpy(y)
    ece = multiclass_calibration_error(tp, ty, num_classes=5, n_bins=10, norm="l1")
    accuracy = multiclass_accuracy(tp, ty, num_classes=5, average="micro")
    truth = functional.one_hot(ty, 5)
    assert scores.ece == pytest.approx(float(ece), abs=1e-6)
    assert scores.error == pytest.approx(1 - float(accuracy), abs=1e-6)
    assert scores.nll == pytest.approx(float(functional.nll_loss(tp.log(), ty)))
    assert scores.brier == pytest.approx(float(((tp - truth) ** 2).sum(1).mean()))
    assert scores.entropy == pytest.approx(float(-(tp * tp.log()).sum(1).mean()))


@given(SEEDS)
def test_regression_is_what_torch_says(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, y = rng.normal(size=(2, 50, 3))
    variance = rng.uniform(0.01, 4, mean.shape)
    scores = metrics.regression_scores(mean, variance, y)
    m, t, v = (torch.from_numpy(a) for a in (mean, y, variance))
    nll = functional.gaussian_nll_loss(m, t, v, full=True, eps=1e-12)
    assert scores.nll == pytest.approx(float(nll))
    assert scores.rmse == pytest.approx(np.linalg.norm(mean - y) / np.sqrt(150))
    assert scores.epistemic_std == pytest.approx(np.median(np.sqrt(variance)))
    assert scores.aleatoric_std is None


def test_four_rows_by_hand() -> None:
    p = [[0.9, 0.1], [0.75, 0.25], [0.5, 0.5], [0.15, 0.85]]
    scores = metrics.classification_scores(p, [0, 1, 0, 1], [0.1, 0.0, 0.3, 0.0])
    assert scores.error == 0.25
    assert scores.nll == pytest.approx(-np.log(0.9 * 0.25 * 0.5 * 0.85) / 4)
    # bins: .5 (right), .75 (wrong), .85 and .9 together (both right)
    assert scores.ece == pytest.approx((0.5 + 0.75 + 2 * (1 - 0.875)) / 4)
    assert scores.brier == pytest.approx((0.02 + 1.125 + 0.5 + 0.045) / 4)
    assert scores.mutual_information == pytest.approx(0.1)


@given(SEEDS, st.integers(1, 6))
def test_mean_of_batch_eces_is_never_below_that_of_the_set(seed: int, batches: int) -> None:
    """The triangle inequality holds in each bin: over-confident batches do not offset others."""
    p, y = classes(seed, 60)
    parts = list(zip(np.array_split(p, batches), np.array_split(y, batches), strict=True))
    of_batches = sum(len(b) * metrics.expected_calibration_error(a, b) for a, b in parts) / 60
    assert metrics.expected_calibration_error(p, y) <= of_batches + 1e-12
    curves = [metrics.calibration_curve(a, b) for a, b in parts]
    for number, whole in enumerate(metrics.calibration_curve(p, y)):
        same = [curve[number] for curve in curves]
        assert whole.count == sum(b.count for b in same)
        assert whole.count * whole.accuracy == pytest.approx(
            sum(b.count * b.accuracy for b in same)
        )


def test_a_calibrated_classifier_has_no_error_over_the_set_but_has_in_batches() -> None:
    p = np.tile([0.92, 0.08], (100, 1))
    y = np.array([0] * 92 + [1] * 8)
    assert metrics.expected_calibration_error(p, y) == pytest.approx(0, abs=1e-12)
    halves = [metrics.expected_calibration_error(p[i::50], y[i::50]) for i in range(50)]
    assert np.mean(halves) > 0.1


@pytest.mark.parametrize(
    ("confidence", "number"), [(0.5, 4), (0.5000001, 5), (0.7, 6), (0.95, 9), (1.0, 9)]
)
def test_bins_are_closed_above(confidence: float, number: int) -> None:
    curve = metrics.calibration_curve([[confidence, 1 - confidence]], [0])
    counts = [one.count for one in curve]
    assert counts == [int(i == number) for i in range(10)]
    assert curve[number].confidence == confidence
    assert curve[number].low < confidence <= curve[number].high
    empty = curve[0]
    assert (empty.low, empty.high, empty.confidence, empty.accuracy) == (0, 0.1, 0, 0)


def test_entropies_at_their_limits() -> None:
    assert metrics.average_predictive_entropy(np.eye(3)) == 0
    assert metrics.average_predictive_entropy(np.full((2, 8), 1 / 8)) == pytest.approx(np.log(8))
    opposite = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert metrics.mutual_information(opposite) == pytest.approx([np.log(2)])


@given(SEEDS, st.integers(1, 20))
def test_mutual_information_lies_between_zero_and_the_entropy(seed: int, samples: int) -> None:
    p = np.stack([classes(seed + i, 7)[0] for i in range(samples)])
    information = metrics.mutual_information(p)
    assert (information >= 0).all()
    assert (information <= metrics.entropy(p.mean(axis=0)) + 1e-12).all()
    assert metrics.mutual_information(np.repeat(p[:1], 5, axis=0)) == pytest.approx(0, abs=1e-12)


@given(SEEDS, st.lists(st.integers(0, 30), max_size=4))
def test_a_row_has_the_same_bits_in_any_batch(seed: int, cuts: list[int]) -> None:
    p = np.random.default_rng(seed).dirichlet(np.ones(3), (33, 30))
    parts = [part for part in np.split(p, sorted(cuts), axis=1) if part.shape[1]]
    for function in (metrics.mean_over_samples, metrics.mutual_information):
        split = np.concatenate([function(part) for part in parts])
        assert split.tobytes() == function(p).tobytes()


def test_a_likelihood_of_zero_is_infinite_and_not_clipped() -> None:
    assert metrics.classification_nll([[1.0, 0.0], [0.5, 0.5]], [1, 0]) == np.inf
    small = metrics.classification_nll([[1 - 1e-300, 1e-300]], [1])
    assert small == pytest.approx(300 * np.log(10))


@pytest.mark.parametrize(
    ("variance", "target", "nll"),
    [
        (0.0, 1.0, np.inf),
        (0.0, 0.0, -np.inf),
        (np.inf, 1.0, np.inf),
        (1e-320, 1.0, np.inf),
        (1e60, 1.0, np.log(1e60 * 2 * np.pi) / 2),
    ],
)
def test_gaussian_likelihood_at_its_limits(variance: float, target: float, nll: float) -> None:
    assert metrics.gaussian_nll([0.0], [variance], [target]) == pytest.approx(nll)


def test_one_impossible_target_decides() -> None:
    assert metrics.gaussian_nll(np.zeros(3), [0, 0, 1], [0, 1, 0]) == np.inf


def test_an_outlier_does_not_decide_the_standard_deviation() -> None:
    assert metrics.median_std([4.0, np.inf, 4.0]) == 2


P = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (P, [0, 1, 2], "0..2, and the 2 classes are 0..1"),
        (P, [0, -1, 1], "-1..1"),
        (P, [0.0, 1.0, 0.0], "float64"),
        (P, [0, 1], "give 3 whole numbers"),
        (P * 4, [0, 1, 0], "are they logits"),
        (P / 2, [0, 1, 0], "are they logits"),
        (P * np.nan, [0, 1, 0], "NaN"),
        (P[0], [0, 1], r"give \[rows, classes\]"),
        (P[:0], [], "no values"),
    ],
)
def test_data_that_do_not_fit_are_refused(
    probabilities: Float64, labels: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        metrics.expected_calibration_error(probabilities, labels)


def test_regressions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="negative, or NaN"):
        metrics.gaussian_nll([0.0], [-1.0], [0.0])
    with pytest.raises(InputError, match="negative, or NaN"):
        metrics.gaussian_nll([0.0, 0.0], [np.nan, 1.0], [0.0, 0.0])
    with pytest.raises(InputError, match=r"\[2\], and \[1\] fits"):
        metrics.rmse([0.0], [0.0, 1.0])
    with pytest.raises(InputError, match="the mean: NaN or infinity"):
        metrics.rmse([np.inf], [0.0])
