"""A compiled network on data: its metrics, its predictions, its distance from another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.passes.mixed_precision.compiler import Compiler
from qbnnc.passes.options import Quantisation

Float64: TypeAlias = NDArray[np.float64]
Distribution: TypeAlias = tuple[Float64, ...]
"""(p,) [N, K] for a classification, places of a map as rows; else (mean, variance) [N, *shape]."""

_FLOOR = 1e-6  # of the mean variance: a network that gives no variance is compared by its means


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Metrics, which are means over the seeds, and the predictions for each seed.

    `row_nll` [N] is the mean over the seeds, up to a constant of the data.
    """

    metrics: Mapping[str, float]
    predictions: tuple[Distribution, ...]
    row_nll: Float64


class Bench(Protocol):
    """Measures compiled forms of one network, all on the same data, seeds, masks and eps."""

    @property
    def compiler(self) -> Compiler:
        """The compiler of the network at any bits."""

    def integers(self, quantisation: Quantisation) -> Measured:
        """The network compiled to integers."""

    def float32(self) -> Measured:
        """The float network."""


def divergence(base: Distribution, other: Distribution) -> float:
    """KL(base || other) in nats, the mean over the rows: 0 or more, and inf.

    The NLL of `other` would exceed that of `base` by this much, were the truth drawn from `base`.
    It is the cost of a change without the noise of labels. Variances are kept off 0.
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
    """The standard error of the mean of first - second [N]; None for one row or if not finite."""
    with np.errstate(invalid="ignore"):
        differences = first - second
    if len(differences) < 2 or not np.isfinite(differences).all():
        return None
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))
