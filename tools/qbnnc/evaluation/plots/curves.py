"""The curves of plots, as numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.runtime.metrics import Float64

Z90 = 1.6448536269514722  # the 95 % quantile of N(0, 1): half of a central interval of 90 %
_ROOT = math.sqrt(2)


def standardised(mean: Float64, variance: Float64, targets: ArrayLike) -> Float64:
    """(y - mean) / std of each target; 0 where both the difference and the variance are 0."""
    difference = np.asarray(targets, np.float64) - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        z = difference / np.sqrt(variance)
    return np.where(difference == 0, 0.0, z).reshape(-1)


def integral_transform(z: Float64) -> Float64:
    """Phi(z): the probability integral transform of targets under N(mean, variance).

    It is uniform if the predictive distributions are right (Dawid, 1984).
    """
    return np.array([(1 + math.erf(one / _ROOT)) / 2 for one in z])


def coverage(pit: Float64, nominal: Float64) -> Float64:
    """The share of targets inside the central interval of each nominal probability."""
    inside: Float64 = (np.abs(2 * pit - 1)[None] <= nominal[:, None]).mean(axis=1)
    return inside


def kept_accuracy(p: Float64, labels: NDArray[np.int64]) -> tuple[Float64, Float64]:
    """Shares of rows kept, the most confident first, and the accuracy among them.

    Rows of equal confidence come together, so that their order decides nothing.
    """
    confidence, right = p.max(axis=1), p.argmax(axis=1) == labels
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True)) + 1
    return ends / len(p), np.cumsum(right[order])[ends - 1] / ends


def spread_rows(count: int, most: int) -> NDArray[np.int64]:
    """The numbers of at most `most` of `count` rows, at even distances, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
