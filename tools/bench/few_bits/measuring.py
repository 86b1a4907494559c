"""The distance of a compiled network from the float one, with its standard error.

Both draw the same random numbers. Samples are kept as means over GROUPS groups of them, and rows
are counted in BLOCKS blocks. The jackknife leaves out one group, or one block, at a time: the
standard error tells what other samples and other rows could change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qbnnc.evaluation.fidelity import compared
from qbnnc.evaluation.predictors import float_samples
from qbnnc.evaluation.score import Rows
from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.runtime import load
from qbnnc.runtime.metrics import (
    classification_error,
    entropy,
    expected_calibration_error,
    rmse,
)
from qbnnc.runtime.ranking import auroc, interval_coverage
from tools.bench.few_bits.data import Data
from tools.bench.few_bits.networks import FOLDER

GROUPS, BLOCKS = 5, 10
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Means over each group of samples, for all rows of one set.

    A classification has the probabilities [G, N, K] and the entropy of a sample [G, N]. A
    regression has the mean, its square and the aleatoric variance, [G, N, ...] each; means are
    relative to `centre` [N, ...].
    """

    parts: tuple[Float64, ...]
    centre: Float64 | None = None

    @staticmethod
    def of(samples: tuple[Array, ...], task: Task, groups: int) -> Statistics:
        """The statistics of samples [L, N, ...] of each output."""
        wide = [each.astype(np.float64) for each in samples]
        if task is Task.CLASSIFICATION:
            p = np.exp(wide[0] - wide[0].max(axis=2, keepdims=True))
            p /= p.sum(axis=2, keepdims=True)
            return Statistics(_by_group((p, entropy(p)), groups))
        mu, log_var = wide
        centre = mu.mean(axis=0)
        moved = mu - centre
        return Statistics(_by_group((moved, moved**2, np.exp(log_var)), groups), centre)

    def rows(self, groups: Sequence[int], kept: NDArray[np.bool_]) -> Rows:
        """The predictions of some groups of samples for the rows that are kept."""
        means = [part[list(groups)][:, kept].mean(axis=0) for part in self.parts]
        if self.centre is None:
            p, inner = means
            return Rows((p,), np.maximum(entropy(p) - inner, 0.0))
        moved, square, aleatoric = means
        epistemic = np.maximum(square - moved**2, 0.0)
        mean = self.centre[kept] + moved
        return Rows((mean, epistemic + aleatoric), np.sqrt(epistemic).reshape(-1))


def _by_group(values: tuple[Float64, ...], groups: int) -> tuple[Float64, ...]:
    return tuple(v.reshape(groups, -1, *v.shape[1:]).mean(axis=1) for v in values)


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """The statistics of the rows to measure, and of those out of the distribution."""

    inside: Statistics
    outside: Statistics


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure, and its values with one part left out: first of the samples, then of the rows."""

    value: float
    without_group: tuple[float, ...]
    without_block: tuple[float, ...]

    @property
    def error(self) -> float:
        """The standard error by the jackknife."""
        return _jackknife(self.without_group, self.without_block)

    def error_of_difference(self, other: Estimate) -> float:
        """The standard error of self - other, of the same samples and rows."""
        pairs = (self.without_group, other.without_group), (self.without_block, other.without_block)
        return _jackknife(*([a - b for a, b in zip(*pair, strict=True)] for pair in pairs))


def _jackknife(*left_out: Sequence[float]) -> float:
    variances = [(len(v) - 1) * float(np.var(v)) for v in left_out if len(v)]
    return float(np.sqrt(sum(variances)))


def sample_count(model: Model, samples: int) -> int:
    """The samples of a prediction: one of each member where nothing is random."""
    return samples if model.stochastic else len(model.members)


def float_predicted(model: Model, data: Data, samples: int, seed: int) -> Predicted:
    """The float network's statistics, kept in a file beside the network."""
    count = sample_count(model, samples)
    path = FOLDER / f"{_digest(format.to_bytes(model), data)}-{count}-{seed}.npz"
    if path.exists():
        return _read(path)
    inside, outside = (
        Statistics.of(float_samples(model, x, count, seed, 0), data.task, _groups(model))
        for x in (data.x, data.ood)
    )
    made = Predicted(inside, outside)
    _write(path, made)
    return made


def compiled_predicted(model: Model, data: Data, samples: int, seed: int) -> Predicted:
    """The statistics of an INTEGER Model in our runtime, on one thread."""
    session, names = load(model, threads=1), model.head.sample_names(len(model.graph.outputs))
    count = sample_count(model, samples)
    sets = []
    for x in (data.x, data.ood):
        made = session.predict(x, samples=count, seed=seed)
        sets.append(Statistics.of(tuple(made[n] for n in names), data.task, _groups(model)))
    return Predicted(*sets)


def distances(reference: Predicted, other: Predicted, data: Data) -> Mapping[str, Estimate]:
    """Every measure of `other`, relative to the float network's."""
    groups, every = range(len(reference.inside.parts[0])), np.full(BLOCKS, True)
    whole = _measures(reference, other, data, groups, every)
    fewer = [[g for g in groups if g != left] for left in groups if len(groups) > 1]
    without_group = [_measures(reference, other, data, some, every) for some in fewer]
    without_block = [
        _measures(reference, other, data, groups, np.arange(BLOCKS) != left)
        for left in range(BLOCKS)
    ]
    return {
        name: Estimate(
            value,
            tuple(m[name] for m in without_group),
            tuple(m[name] for m in without_block),
        )
        for name, value in whole.items()
    }


def _measures(
    reference: Predicted,
    other: Predicted,
    data: Data,
    groups: Sequence[int],
    blocks: NDArray[np.bool_],
) -> dict[str, float]:
    kept, kept_outside = (blocks[np.arange(len(x)) % BLOCKS] for x in (data.x, data.ood))
    a, b = (each.inside.rows(groups, kept) for each in (reference, other))
    y = data.y[kept]
    found = compared(a, b)
    if data.task is Task.CLASSIFICATION:
        (p,), (q,) = a.predicted, b.predicted
        found["error"] = 100 * (classification_error(q, y) - classification_error(p, y))
        ece = expected_calibration_error
        found["calibration"] = 100 * (ece(q, y) - ece(p, y))
    else:
        found["error"] = rmse(b.predicted[0], y) / rmse(a.predicted[0], y)
        (m, v), (n, w) = a.predicted, b.predicted
        before, after = interval_coverage(m, v, y), interval_coverage(n, w, y)
        found["calibration"] = 100 * (after - before)
    if "rank" in found:
        outside = (each.outside.rows(groups, kept_outside) for each in (reference, other))
        before, after = (
            auroc(mine.epistemic, its.epistemic) for mine, its in zip((a, b), outside, strict=True)
        )
        found["ood"] = after - before
    return found


def _groups(model: Model) -> int:
    return GROUPS if model.stochastic else 1


def _digest(network: bytes, data: Data) -> str:
    found = hashlib.sha256(network)
    for x in (data.x, data.ood):
        found.update(x.tobytes())
    return found.hexdigest()[:16]


def _arrays(predicted: Predicted) -> Iterator[tuple[str, Float64]]:
    for name, its in (("inside", predicted.inside), ("outside", predicted.outside)):
        for number, part in enumerate(its.parts):
            yield f"{name}{number}", part
        if its.centre is not None:
            yield f"{name}_centre", its.centre


def _write(path: Path, predicted: Predicted) -> None:
    part = path.with_suffix(".part.npz")
    # An array may have any name but that of savez's own flag, which no type can say.
    np.savez(part, **dict(_arrays(predicted)))  # type: ignore[arg-type]
    part.rename(path)


def _read(path: Path) -> Predicted:
    with np.load(path) as file:
        found = {name: file[name] for name in file.files}
    sets = []
    for name in ("inside", "outside"):
        numbered = sorted(key for key in found if key[len(name) :].isdigit() and name in key)
        sets.append(Statistics(tuple(found[key] for key in numbered), found.get(f"{name}_centre")))
    return Predicted(*sets)
