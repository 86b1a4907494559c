"""Metrics of a predictor on labelled data, over the whole set and several seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.evaluation.statistics import class_statistics, moments
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.outputs import Spread
from qbnnc.ir.types import Array
from qbnnc.loading.artefacts import Predictor
from qbnnc.passes.head.assign_head import fitted_by_targets, with_head
from qbnnc.passes.mixed_precision.measured import Distribution
from qbnnc.runtime.metrics import (
    CalibrationBin,
    Float64,
    average_predictive_entropy,
    calibration_curve,
    classification_scores,
    entropy,
    median_std,
    regression_scores,
)
from qbnnc.runtime.ranking import area_under_risk_coverage, auroc, interval_coverage
from qbnnc.support.errors import InputError, UserError
from qbnnc.verification.oracle import check_samples

BATCH = 256
Progress = Callable[[int, int], None]
_Statistics = Callable[[tuple[Array, ...]], tuple[Float64, ...]]


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric over the seeds; `std` is of a sample (N-1), None of one seed or where infinite."""

    mean: float
    std: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The predictions of all rows at one seed.

    `predicted` is the predictive distribution. `epistemic` [N] is the mutual information in nats,
    or the epistemic standard deviation in the network's units. `unknown` is of out-of-distribution
    rows: their predictive entropy in nats, or their epistemic standard deviation.
    """

    predicted: Distribution
    epistemic: Float64
    unknown: Float64 | None = None


@dataclass(frozen=True, slots=True)
class TargetUnits:
    """A network trained on (y - mean)/std predicts so; metrics are in the units of y.

    The targets of the data are standardised too, with the same two numbers.
    """

    mean: float = 0.0
    std: float = 1.0

    def check(self) -> None:
        """InputError unless both are finite, and the standard deviation positive."""
        if not np.isfinite(self.mean):
            raise InputError("give a finite number", place=f"`target_mean` {self.mean:g}")
        if not (np.isfinite(self.std) and self.std > 0):
            raise InputError("give a positive number", place=f"`target_std` {self.std:g}")

    def value(self, standardised: Float64) -> Float64:
        """In the units of y."""
        return standardised * self.std + self.mean

    def variance(self, standardised: Float64) -> Float64:
        """In the units of y, squared; inf where it overflows."""
        with np.errstate(over="ignore"):
            scaled: Float64 = standardised * self.std**2
        return scaled


@dataclass(frozen=True, slots=True)
class Scores:
    """The metrics of one predictor, by the names of qbnnc.runtime.metrics' scores.

    Further ones are "aurc", the area under the risk-coverage curve, and "coverage" of 90 %
    intervals. Those that begin with "ood_" are of the out-of-distribution inputs: entropy and
    mutual_information, or epistemic_std and aleatoric_std; and auroc, by the entropy or the
    epistemic variance. `seeds` are those that were run: the first one if nothing is random.
    `calibration` is the curve of the first seed. `rows_of_seeds` are all predictions, and `truth`
    the labels or targets [N, ...] as they were given, with the `units` of a regression.
    """

    task: Task
    rows: int
    samples: int
    random: bool
    seeds: tuple[int, ...]
    measures: Mapping[str, Measure]
    calibration: tuple[CalibrationBin, ...] = ()
    rows_of_seeds: tuple[Rows, ...] = field(default=(), repr=False, compare=False)
    truth: Array | None = field(default=None, repr=False, compare=False)
    units: TargetUnits = TargetUnits()


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """The metrics of one seed."""

    values: dict[str, float]
    rows: Rows
    calibration: tuple[CalibrationBin, ...] = ()


@dataclass(frozen=True, slots=True)
class _Run:
    """One predictor at one seed."""

    predictor: Predictor
    samples: int | None
    seed: int
    batch_size: int
    tick: Callable[[], None]
    order: tuple[int, ...]
    spread: Spread

    def over(self, x: NDArray[np.float32], statistics: _Statistics) -> tuple[Float64, ...]:
        """The statistics of all rows, computed a batch at a time: samples are not kept."""
        parts = []
        for start in range(0, len(x), self.batch_size):
            parts.append(statistics(self._samples(x[start : start + self.batch_size], start)))
            self.tick()
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def moments(self, samples: tuple[Array, ...]) -> tuple[Float64, ...]:
        """Mean, epistemic and perhaps aleatoric variance."""
        return moments(samples, self.spread)

    def _samples(self, x: NDArray[np.float32], first_row: int) -> tuple[Array, ...]:
        made = self.predictor.predict(x, self.samples, self.seed, first_row)
        found = [a for name, a in made.items() if name.startswith("samples")]
        samples = tuple(found[i] for i in self.order)
        for output in samples:
            bad = np.argwhere(~np.isfinite(output))
            if len(bad):
                raise InputError(
                    "the network's output is NaN or infinite, first in row "
                    f"{first_row + bad[0][1]} (sample {bad[0][0]}, seed {self.seed}); no metric is "
                    "defined then"
                )
        return samples


def evaluate(
    predictor: Predictor,
    data: LabelledData,
    *,
    task: Task,
    seeds: Sequence[int] = (0,),
    samples: int | None = None,
    ood: NDArray[np.float32] | None = None,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    batch_size: int = BATCH,
    progress: Progress | None = None,
) -> Scores:
    """The metrics of `predictor` on `data`, mean and standard deviation over `seeds`.

    `ood` [N, *shape] are inputs of another distribution. `samples` is L for a predictor that is
    random. `target_mean` and `target_std` undo the standardisation of a regression's targets (see
    TargetUnits). Rows are numbered over the whole set, so that `batch_size` changes memory and
    never a bit of a compiled model's metrics. `progress` is told (batches done, batches in all).
    UserError if the network cannot have this task, or gives NaN.
    """
    if isinstance(predictor, FloatPredictor):
        check_task(predictor.model, task)
        predictor = replace(predictor, model=fitted_by_targets(predictor.model)).with_task(task)
    model = predictor.model
    read = check_task(model, task)
    order = tuple(model.graph.outputs.index(value) for value in read.graph.outputs)
    units = TargetUnits(target_mean, target_std)
    units.check()
    if not seeds or batch_size < 1:
        raise InputError("evaluation takes one seed or more, and one row or more at a time")
    count = samples if model.stochastic else None
    check_samples(model, count)
    run_seeds = tuple(seeds) if model.stochastic else tuple(seeds[:1])
    sets = [len(data), 0 if ood is None else len(ood)]
    tick = _ticker(len(run_seeds) * sum(-(-n // batch_size) for n in sets), progress)
    runs = [
        _Run(predictor, count, seed, batch_size, tick, order, read.head.spread)
        for seed in run_seeds
    ]
    if task is Task.CLASSIFICATION:
        found = [_classification(run, data, ood) for run in runs]
    else:
        found = [_regression(run, data, ood, units) for run in runs]
    measures = {name: measure_of([one.values[name] for one in found]) for name in found[0].values}
    drawn = predictor.samples if count is None else count
    rows = tuple(one.rows for one in found)
    return Scores(
        task,
        len(data),
        drawn,
        model.stochastic,
        run_seeds,
        measures,
        found[0].calibration,
        rows,
        data.y,
        units,
    )


def check_task(model: Model, task: Task) -> Model:
    """The model with this task, for data that fit its first output.

    UserError unless it has the task already, or is raw and can have it.
    """
    has = model.head.task
    if task is Task.RAW:
        raise UserError(
            "there are metrics of classification and of regression only",
            place="`task` raw",
            remedy="choose classification or regression",
        )
    if has not in (Task.RAW, task):
        raise UserError(f"it is a network of task {has.value}", place=f"`task` {task.value}")
    return with_head(fitted_by_targets(model), task)


def _classification(run: _Run, data: LabelledData, ood: NDArray[np.float32] | None) -> _Found:
    labels = data.y.reshape(-1)
    p, information = run.over(data.x, class_statistics)
    values = asdict(classification_scores(p, labels, information))
    values["aurc"] = area_under_risk_coverage(p.argmax(axis=1) != labels, 1 - p.max(axis=1))
    apart: Float64 | None = None
    if ood is not None:
        q, unknown = run.over(ood, class_statistics)
        apart = entropy(q)
        values["ood_entropy"] = average_predictive_entropy(q)
        values["ood_mutual_information"] = float(unknown.mean())
        values["ood_auroc"] = auroc(entropy(p), apart)
    return _Found(values, Rows((p,), information, apart), calibration_curve(p, labels))


def _regression(
    run: _Run, data: LabelledData, ood: NDArray[np.float32] | None, units: TargetUnits
) -> _Found:
    mean, *parts = run.over(data.x, run.moments)
    rows = Rows((mean, np.add.reduce(parts)), np.sqrt(parts[0]).reshape(-1))
    parts = [units.variance(part) for part in parts]
    variance = np.add.reduce(parts)
    mean, targets = units.value(mean), units.value(data.y.astype(np.float64))
    scores = regression_scores(mean, variance, targets, *parts)
    values = {name: value for name, value in asdict(scores).items() if value is not None}
    values["aurc"] = area_under_risk_coverage(np.abs(mean - targets), variance)
    values["coverage"] = interval_coverage(mean, variance, targets)
    if ood is not None:
        _, *unknown = run.over(ood, run.moments)
        rows = replace(rows, unknown=np.sqrt(unknown[0]).reshape(-1))
        for name, part in zip(("ood_epistemic_std", "ood_aleatoric_std"), unknown, strict=False):
            values[name] = median_std(units.variance(part))
        values["ood_auroc"] = auroc(parts[0], units.variance(unknown[0]))
    return _Found(values, rows)


def measure_of(values: list[float]) -> Measure:
    """The metric over the seeds: infinite if a seed is, and positive infinity decides."""
    infinite = [value for value in values if np.isinf(value)]
    if infinite:
        return Measure(max(infinite), None)
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Measure(float(np.mean(values)), std)


def _ticker(total: int, progress: Progress | None) -> Callable[[], None]:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick
