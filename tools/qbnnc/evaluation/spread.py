"""The spread of a network's samples, and its ratio to that of another network."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, log

import numpy as np

from qbnnc.evaluation.statistics import class_statistics, moments
from qbnnc.ir.head import Task
from qbnnc.ir.types import Array
from qbnnc.runtime.metrics import Float64

_GROUPS = 4  # of samples, whose ratios tell what so few samples leave to chance


@dataclass(frozen=True, slots=True)
class SpreadRatio:
    """The ratio of two mean spreads over the same rows and random numbers.

    `error` is the standard error of its logarithm, for other rows and other random numbers.
    """

    ratio: float
    error: float

    @property
    def deviation(self) -> float:
        """The factor between the two spreads, 1 or more, in whichever direction."""
        return exp(abs(log(self.ratio)))

    def exceeds(self, factor: float) -> bool:
        """Whether the deviation is above `factor` by more than two standard errors."""
        return log(self.deviation) - 2 * self.error > log(factor)


def row_spreads(samples: tuple[Array, ...], task: Task) -> Float64:
    """The spread of each row [B], of samples [L, B, *shape] of each output.

    A classification has the mutual information in nats, the mean over the places of a map. Any
    other network has the standard deviation of its first output, the mean over its numbers.
    """
    if task is Task.CLASSIFICATION:
        _, each = class_statistics(samples)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            each = np.sqrt(moments(samples[:1])[1])
    rows: Float64 = each.reshape(samples[0].shape[1], -1).mean(axis=1)
    return rows


def spread_ratio(
    reference: tuple[Array, ...], samples: tuple[Array, ...], task: Task, *, random: bool
) -> SpreadRatio | None:
    """The ratio of the spread of `samples` to that of `reference`, of the same rows.

    `random` says that the samples were drawn. Their error is found from four groups of them, that
    of the rows as a ratio of means has it. None where either spread is 0 or not finite.
    """
    base, other = row_spreads(reference, task), row_spreads(samples, task)
    mean, spread = float(base.mean()), float(other.mean())
    if not (0 < mean < np.inf and 0 < spread < np.inf):
        return None
    ratio, count = spread / mean, len(base)
    left = other - ratio * base
    of_rows = float(np.sqrt((left * left).sum() / max(count - 1, 1) / count)) / spread
    of_samples = _error_of_samples(reference, samples, task) if random else 0.0
    return SpreadRatio(ratio, hypot(of_rows, of_samples))


def _error_of_samples(
    reference: tuple[Array, ...], samples: tuple[Array, ...], task: Task
) -> float:
    """The standard error of the logarithm of the ratio, from groups of samples; inf if unknown."""
    logs = []
    for group in range(_GROUPS):
        means = [
            float(row_spreads(tuple(a[group::_GROUPS] for a in each), task).mean())
            for each in (reference, samples)
        ]
        if not all(0 < mean < np.inf for mean in means):
            return np.inf
        logs.append(log(means[1] / means[0]))
    return float(np.std(logs, ddof=1) / np.sqrt(_GROUPS))
