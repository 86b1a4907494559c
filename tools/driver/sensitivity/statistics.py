"""Row by row, how likely the truth is under a prediction, and how far two predictions are apart."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.statistics import class_statistics, moments
from qbnnc.ir.head import Head, Task
from qbnnc.ir.types import Array
from qbnnc.runtime.metrics import Float64

Distribution: TypeAlias = tuple[Float64, ...]
"""Of a classification (p,) [N, K], places of a map as rows; else (mean, variance) [N, *shape]."""

_FLOOR = 1e-6  # of the mean variance: a network that gives no variance is compared by its means


def distribution(head: Head, samples: tuple[Array, ...]) -> Distribution:
    """The predictive distribution of each row, from samples [L, B, ...] of each output."""
    with np.errstate(invalid="ignore", over="ignore"):  # `evaluate` tells of NaN, with its row
        if head.task is Task.CLASSIFICATION:
            return class_statistics(samples)[:1]
        mean, *parts = moments(samples, head.spread)
        return mean, np.add.reduce(parts)


def row_nll(task: Task, predicted: Distribution, data: LabelledData) -> Float64:
    """-log p(y) of each row [N] in nats, up to a constant of the data; inf where p is 0.

    Of a map of classes, or several targets, the mean over them.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if task is Task.CLASSIFICATION:
            (p,) = predicted
            each = -np.log(p[np.arange(len(p)), data.y.reshape(-1)])
        else:
            mean, variance = predicted
            each = (np.log(variance) + (data.y - mean) ** 2 / variance) / 2
        rows: Float64 = each.reshape(len(data), -1).mean(axis=1)
    return rows


def divergence(base: Distribution, other: Distribution) -> float:
    """KL(base || other) in nats, the mean over the rows: 0 or more, and inf.

    By so much the NLL of `other` would exceed that of `base`, were the truth drawn from `base`:
    what a change costs, without the noise of labels. Variances are kept off 0.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if len(base) == 1:
            (p,), (q,) = base, other
            each = np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0).sum(axis=1)
        else:
            floor = max(_FLOOR * float(base[1].mean()), np.finfo(np.float64).tiny)
            v, w = base[1] + floor, other[1] + floor
            each = (np.log(w / v) + (v + (base[0] - other[0]) ** 2) / w - 1) / 2
        mean = float(each.mean())
    return np.inf if np.isnan(mean) else max(mean, 0.0)


def standard_error(first: Float64, second: Float64) -> float | None:
    """Of the mean of first - second [N]; None of one row, or where they are not finite."""
    with np.errstate(invalid="ignore"):
        differences = first - second
    if len(differences) < 2 or not np.isfinite(differences).all():
        return None
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))
