"""What metrics need of each row's samples, in float64.

The statistics of `qbnnc.ir.head` before they are rounded to float32: a likelihood below 1e-45, or
a variance above 3e38, is an ordinary number here. Sums over the samples keep one order, so that a
row's bits do not depend on how many rows are computed at once.
"""

from __future__ import annotations

import numpy as np

from qbnnc.ir.types import Array
from qbnnc.runtime.metrics import Float64, mean_over_samples, mutual_information


def class_statistics(samples: tuple[Array, ...]) -> tuple[Float64, Float64]:
    """Mean softmax [N, K] and mutual information [N] in nats, of logits [L, B, K, *map].

    N is B, or of a map of classes B times its places.
    """
    (logits,) = samples
    classes = np.moveaxis(logits.astype(np.float64), 2, -1)
    flat = np.ascontiguousarray(classes.reshape(len(logits), -1, logits.shape[2]))
    each = np.exp(flat - flat.max(axis=2, keepdims=True))
    each /= each.sum(axis=2, keepdims=True)
    return mean_over_samples(each), mutual_information(each)


def moments(samples: tuple[Array, ...]) -> tuple[Float64, ...]:
    """Mean and epistemic variance [B, *shape] of mu [L, B, *shape]; with log_var, aleatoric too.

    aleatoric = mean_l exp(log_var_l), epistemic = mean_l (mu_l - mean)^2; infinite only where
    log_var exceeds 709.
    """
    wide = [s.astype(np.float64) for s in samples]
    mean = mean_over_samples(wide[0])
    epistemic = mean_over_samples((wide[0] - mean) ** 2)
    if len(wide) == 1:
        return mean, epistemic
    with np.errstate(over="ignore"):
        return mean, epistemic, mean_over_samples(np.exp(wide[1]))
