"""Metrics of the order of uncertainties: which rows a network is unsure of.

Errors and likelihoods are means, and do not show it if a network is unsure of the wrong rows. Ties
count half, so that the order of equal rows never matters. Arrays that do not fit, or hold NaN,
raise InputError.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.support.errors import InputError

Float64 = NDArray[np.float64]
_QUANTILE = 1.6448536269514722  # of the standard normal at .95


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """Return how often a row of `outside` [M] is more uncertain than one of `inside` [N].

    The result is a fraction of all pairs, the area under the ROC curve: 0.5 is a guess, and 1 is
    right. Source: Hanley and McNeil, Radiology 143, 1982.
    """
    a, b = _rows(inside, "inside"), _rows(outside, "outside")
    ranks = _ranks(np.concatenate([a, b]))[len(a) :]
    wins = ranks.sum() - len(b) * (len(b) + 1) / 2
    return float(wins / (len(a) * len(b)))


def area_under_risk_coverage(losses: ArrayLike, uncertainties: ArrayLike) -> float:
    """Return the mean, over n = 1..N, of the mean loss of the n least uncertain rows (AURC).

    Both are [N]. The unit is that of the losses, and less is better. Equal rows count as in the
    mean of all their orders. Source: Geifman, Uziel and El-Yaniv, ICLR 2019.
    """
    loss, uncertain = _pair(losses, uncertainties, "the losses", "the uncertainties")
    order = np.argsort(uncertain, kind="stable")
    _, first, counts = np.unique(uncertain[order], return_index=True, return_counts=True)
    means = np.add.reduceat(loss[order], first) / counts
    risk = np.cumsum(np.repeat(means, counts)) / np.arange(1, len(loss) + 1)
    return float(risk.mean())


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Return Spearman's rank correlation of two numbers of each row, [N] each: -1 to 1.

    1 is the same order. NaN if all rows of one of them are equal, so that they have no order.
    """
    a, b = (_ranks(each) for each in _pair(first, second, "the first", "the second"))
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / size) if size > 0 else float("nan")


def interval_coverage(mean: ArrayLike, variance: ArrayLike, targets: ArrayLike) -> float:
    """Return the fraction of targets inside the central 90 % interval of N(mean, variance).

    All three have one shape [N, ...]. A calibrated network covers .9 of them.
    """
    m, v = _pair(mean, variance, "the mean", "the variance")
    y, _ = _pair(targets, m, "the targets", "the mean")
    if v.min() < 0:
        raise InputError("negative", place="the variance")
    return float((np.abs(y - m) <= _QUANTILE * np.sqrt(v)).mean())


def _ranks(values: Float64) -> Float64:
    """Return the rank 1..N of each number; equal ones have the mean of theirs."""
    order = np.argsort(values, kind="stable")
    _, first, which, counts = np.unique(
        values[order], return_index=True, return_inverse=True, return_counts=True
    )
    ranks = np.empty(len(values))
    ranks[order] = (first + (counts + 1) / 2)[which]
    return ranks


def _pair(first: ArrayLike, second: ArrayLike, name: str, other: str) -> tuple[Float64, Float64]:
    a, b = _rows(first, name), _rows(second, other)
    if a.shape != b.shape:
        raise InputError(
            f"there are {len(a)} of {name}, and {len(b)}", place=other, remedy="give one a row"
        )
    return a, b


def _rows(values: ArrayLike, name: str) -> Float64:
    array = np.asarray(values, np.float64).reshape(-1)
    if array.size == 0:
        raise InputError("no values", place=name, remedy="give one row or more")
    if np.isnan(array).any():
        raise InputError("NaN among the values", place=name)
    return array
