"""Statistics of each row's samples in float64, for metrics.

They are the statistics of `qbnnc.ir.head` before they are rounded to float32. A likelihood below
1e-45, or a variance above 3e38, is an ordinary number here. Sums over the samples keep one order,
so that a row's bits do not depend on how many rows are computed at once.
"""

from __future__ import annotations

import numpy as np

from qbnnc.evaluation.data import LabelledData
from qbnnc.ir.head import Task, class_logits
from qbnnc.ir.outputs import Spread
from qbnnc.ir.types import Array
from qbnnc.passes.mixed_precision.measured import Distribution
from qbnnc.runtime.metrics import Float64, mean_over_samples, mutual_information


def class_statistics(samples: tuple[Array, ...]) -> tuple[Float64, Float64]:
    """Mean softmax [N, K] and mutual information [N] in nats for logits [L, B, K, *map].

    N is B, or of a map of classes B times its places. One logit is that of class 1 of two.
    """
    logits = class_logits(samples[0].astype(np.float64))
    classes = np.moveaxis(logits, 2, -1)
    flat = np.ascontiguousarray(classes.reshape(len(logits), -1, logits.shape[2]))
    each = np.exp(flat - flat.max(axis=2, keepdims=True))
    each /= each.sum(axis=2, keepdims=True)
    return mean_over_samples(each), mutual_information(each)


def moments(
    samples: tuple[Array, ...], spread: Spread = Spread.LOG_VARIANCE
) -> tuple[Float64, ...]:
    """Mean and epistemic variance [B, *shape] of mu [L, B, *shape]; with another output aleatoric.

    aleatoric = mean_l exp(log_var_l), or of what `spread` says that the other is; epistemic =
    mean_l (mu_l - mean)^2; infinite only where log_var exceeds 709.
    """
    wide = [s.astype(np.float64) for s in samples]
    mean = mean_over_samples(wide[0])
    epistemic = mean_over_samples((wide[0] - mean) ** 2)
    if len(wide) == 1:
        return mean, epistemic
    with np.errstate(over="ignore"):
        return mean, epistemic, mean_over_samples(spread.variance(wide[1]))


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
