"""Metrics of predictions and their uncertainties, after Ferianc et al. (UAI 2021).

Equation numbers are those of the paper's appendix B. Everything is float64 and over the WHOLE set:
the mean ECE of batches is another and larger number. Errors and calibration errors are fractions in
0..1; entropies and likelihoods are in nats. Nothing is clipped: a likelihood of 0 gives a negative
log-likelihood of infinity. Arrays that do not fit, or hold NaN, raise InputError.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.support.errors import InputError

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
BINS = 10


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The predictions with a confidence in (low, high]; both means are 0 in an empty bin."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class ClassificationScores:
    """Means over a labelled set. `error` and `ece` are fractions; the entropies are in nats."""

    error: float
    nll: float
    ece: float
    entropy: float  # aPE, equation (5)
    mutual_information: float
    brier: float


@dataclass(frozen=True, slots=True)
class RegressionScores:
    """Scores of a regression. `nll` is in nats, and the others are in the units of the targets."""

    rmse: float
    nll: float
    epistemic_std: float  # the median over the set; see `median_std`
    aleatoric_std: float | None  # None: the network does not predict it


def classification_scores(
    probabilities: ArrayLike, labels: ArrayLike, mutual_information: ArrayLike
) -> ClassificationScores:
    """Compute all metrics of probabilities [N, K], labels [N] and mutual information [N]."""
    p, y = _labelled(probabilities, labels)
    information = _finite(mutual_information, "the mutual information", (len(p),))
    return ClassificationScores(
        classification_error(p, y),
        classification_nll(p, y),
        expected_calibration_error(p, y),
        average_predictive_entropy(p),
        float(information.mean()),
        brier_score(p, y),
    )


def classification_error(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Return the fraction of N whose greatest probability [N, K] is not the label's.

    The first of equal probabilities counts.
    """
    p, y = _labelled(probabilities, labels)
    return float((p.argmax(axis=1) != y).mean())


def classification_nll(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Equation (4): -1/N sum_n log p_n[y_n], in nats; inf if a label has probability 0."""
    p, y = _labelled(probabilities, labels)
    with np.errstate(divide="ignore"):
        return float(0.0 - np.log(p[np.arange(len(p)), y]).mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """1/N sum_n sum_k (p_n[k] - [k = y_n])^2, in 0..2 (Brier, 1950)."""
    p, y = _labelled(probabilities, labels)
    truth = np.arange(p.shape[1]) == y[:, None]
    return float(((p - truth) ** 2).sum(axis=1).mean())


def average_predictive_entropy(probabilities: ArrayLike) -> float:
    """Equation (5): aPE = -1/N sum_n sum_k p_n[k] log p_n[k] of p [N, K], in nats."""
    return float(entropy(_probabilities(probabilities)).mean())


def entropy(p: Float64) -> Float64:
    """-sum_k p[k] log p[k] over the last axis, in nats; 0 log 0 = 0."""
    total: Float64 = 0.0 - (p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)
    return total


def mutual_information(p: Float64) -> Float64:
    """Mutual information of class and weights: H(mean_l p_l) - mean_l H(p_l), in nats, 0 or more.

    p [L, ..., K] are the probabilities of each sample.
    """
    disagreement = entropy(mean_over_samples(p)) - mean_over_samples(entropy(p))
    information: Float64 = np.maximum(disagreement, 0.0)
    return information


def mean_over_samples(values: Float64) -> Float64:
    """The mean over axis 0 of [L, ...], summed in one order whatever the other axes are.

    numpy's order depends on the memory layout, so that one row alone would differ in the last bit.
    """
    mean: Float64 = np.ascontiguousarray(np.moveaxis(values, 0, -1)).mean(axis=-1)
    return mean


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS
) -> float:
    """Equation (6): sum_b n_b/N |accuracy(b) - confidence(b)|, over the whole set at once."""
    curve = calibration_curve(probabilities, labels, bins)
    total = sum(b.count for b in curve)
    return sum(b.count * abs(b.accuracy - b.confidence) for b in curve) / total


def calibration_curve(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS
) -> tuple[CalibrationBin, ...]:
    """The bins of equation (6), by the greatest probability: ((b-1)/B, b/B], b = 1..B.

    Confidence and accuracy are means over a bin (Guo et al., 2017).
    """
    p, y = _labelled(probabilities, labels)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == y
    edges = np.arange(bins + 1) / bins
    which = np.searchsorted(edges[1:-1], confidence, side="left")
    counts = np.bincount(which, minlength=bins)
    sums = (np.bincount(which, weights, bins) for weights in (confidence, right))
    means = [total / np.maximum(counts, 1) for total in sums]
    columns = (edges[:-1], edges[1:], counts, *means)
    return tuple(
        CalibrationBin(float(low), float(high), int(n), float(c), float(a))
        for low, high, n, c, a in zip(*columns, strict=True)
    )


def regression_scores(
    mean: ArrayLike,
    variance: ArrayLike,
    targets: ArrayLike,
    epistemic: ArrayLike | None = None,
    aleatoric: ArrayLike | None = None,
) -> RegressionScores:
    """Compute all metrics of predictive means, variances and targets, of one shape [N, ...].

    `epistemic` and `aleatoric` are the parts of the variance. Without them all of it is epistemic.
    """
    return RegressionScores(
        rmse(mean, targets),
        gaussian_nll(mean, variance, targets),
        median_std(variance if epistemic is None else epistemic),
        None if aleatoric is None else median_std(aleatoric),
    )


def rmse(mean: ArrayLike, targets: ArrayLike) -> float:
    """sqrt(mean((mean - target)^2)) over all elements of [N, ...]."""
    m = _finite(mean, "the mean")
    return float(np.sqrt(((m - _finite(targets, "the targets", m.shape)) ** 2).mean()))


def gaussian_nll(mean: ArrayLike, variance: ArrayLike, targets: ArrayLike) -> float:
    """Equation (3): mean of log(v)/2 + (y - m)^2/(2v) + log(2 pi)/2, in nats.

    v is the predictive variance, aleatoric + epistemic. Infinite where a target's density is 0:
    v = 0 with another mean (the limit; naively inf - inf), and v = inf. Such elements decide;
    without them, v = 0 with the mean equal to the target gives -inf. Give float64 variances: in
    float32 exp(log variance) is inf from 88.8 on, while the likelihood is an ordinary number.
    """
    m = _finite(mean, "the mean")
    y, v = _finite(targets, "the targets", m.shape), _variance(variance, m.shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        each = (np.log(v) + ((y - m) / np.sqrt(v)) ** 2 + np.log(2 * np.pi)) / 2
    each = np.where(v == 0, np.where(y == m, -np.inf, np.inf), each)
    return float("inf") if np.isposinf(each).any() else float(each.mean())


def median_std(variance: ArrayLike) -> float:
    """Return the median of sqrt(variance) [N, ...]: one outlier would decide their mean."""
    return float(np.median(np.sqrt(_variance(variance, None))))


def _labelled(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Float64, Int64]:
    p, y = _probabilities(probabilities), np.asarray(labels)
    if y.dtype.kind not in "iub" or y.shape != p.shape[:1]:
        raise InputError(
            f"{y.dtype} of shape {list(y.shape)}",
            place="the labels",
            remedy=f"give {len(p)} whole numbers, one for each row of the probabilities",
        )
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise InputError(
            f"{y.min()}..{y.max()}, and the {p.shape[1]} classes are 0..{p.shape[1] - 1}",
            place="the labels",
        )
    return p, y.astype(np.int64)


def _probabilities(values: ArrayLike) -> Float64:
    p = _finite(values, "the probabilities")
    if p.ndim != 2:
        raise InputError(
            f"the shape is {list(p.shape)}",
            place="the probabilities",
            remedy="give [rows, classes]",
        )
    if p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise InputError(
            "a row does not sum to 1", place="the probabilities", remedy="are they logits?"
        )
    return p


def _variance(values: ArrayLike, shape: tuple[int, ...] | None) -> Float64:
    array = _array(values, "the variance", shape)
    if np.isnan(array).any() or array.min() < 0:
        raise InputError("negative, or NaN", place="the variance")
    return array


def _finite(values: ArrayLike, name: str, shape: tuple[int, ...] | None = None) -> Float64:
    array = _array(values, name, shape)
    if not np.isfinite(array).all():
        raise InputError("NaN or infinity among the values", place=name)
    return array


def _array(values: ArrayLike, name: str, shape: tuple[int, ...] | None) -> Float64:
    array = np.asarray(values, np.float64)
    if shape is not None and array.shape != shape:
        raise InputError(f"the shape is {list(array.shape)}, and {list(shape)} fits", place=name)
    if array.ndim == 0 or array.size == 0:
        raise InputError("no values", place=name, remedy="give one row or more")
    return array
