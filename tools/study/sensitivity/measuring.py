"""A bench: measures all compiled forms of a float network alike, on labelled data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.evaluation.data import LabelledData, fit
from qbnnc.evaluation.fidelity import with_fidelity
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.evaluation.reading import Labelled, Path_, read_labelled, read_ood
from qbnnc.evaluation.score import Scores, TargetUnits, evaluate
from qbnnc.evaluation.statistics import row_nll
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.loading.artefacts import Predictor
from qbnnc.passes.head.assign_head import fitted_by_targets, with_head
from qbnnc.passes.mixed_precision.compiler import Compiler
from qbnnc.passes.mixed_precision.measured import Measured
from qbnnc.passes.options import Quantisation
from qbnnc.passes.pipeline import Options, check_calibration
from qbnnc.passes.ranges.calibrate import calibration_of
from qbnnc.runtime import load
from qbnnc.study.prepare import task_of
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import as_integer, evenly_spaced, whole

_NAMES = {"entropy": "ape", "ood_entropy": "ood_ape"}  # as in the rows of a study
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A float network, its compiler and data.

    `seeds`, masks and eps are the same for every measurement: differences are paired. `ood`
    [N, *shape] are out-of-distribution inputs.
    """

    model: Model
    task: Task
    compiler: Compiler
    data: LabelledData
    ood: Floats | None
    seeds: tuple[int, ...]
    units: TargetUnits
    _float: list[Scores] = field(default_factory=list)

    @property
    def samples(self) -> int:
        """L, the samples over all members, of every measurement."""
        return self.compiler.ready.draws * len(self.model.members)

    def integers(self, quantisation: Quantisation) -> Measured:
        """Measure the network in integers, and compare its rows with those in float."""
        scores = self._evaluated(load(self.compiler.compiled(quantisation)))
        return self._measured(with_fidelity(scores, self._float_scores()))

    def float32(self) -> Measured:
        """Measure the network in float."""
        return self._measured(self._float_scores())

    def _float_scores(self) -> Scores:
        """The float network's scores, computed once."""
        if not self._float:
            model = with_head(self.model, self.task)
            predictor = replace(FloatPredictor.of(model), samples=self.samples)
            self._float.append(self._evaluated(predictor))
        return self._float[0]

    def _evaluated(self, predictor: Predictor) -> Scores:
        return evaluate(
            predictor,
            self.data,
            task=self.task,
            seeds=self.seeds,
            ood=self.ood,
            target_mean=self.units.mean,
            target_std=self.units.std,
        )

    def _measured(self, scores: Scores) -> Measured:
        metrics = {_NAMES.get(name, name): m.mean for name, m in scores.measures.items()}
        predictions = tuple(rows.predicted for rows in scores.rows_of_seeds)
        each = [row_nll(self.task, predicted, self.data) for predicted in predictions]
        with np.errstate(invalid="ignore"):
            return Measured(metrics, predictions, np.mean(each, axis=0))


@dataclass(frozen=True, slots=True)
class Setting:
    """The user's choice of data and seeds.

    `data` is "FILE.npz[:XKEY,YKEY]" or (x, y). Evenly spaced `rows` of it are used (None: all).
    `ood` is "FILE[:KEY]" or x. `units` are those of a regression's targets.
    """

    data: Labelled
    ood: Path_ | ArrayLike | None = None
    seeds: Sequence[int] = (0,)
    rows: int | None = None
    units: TargetUnits = field(default_factory=TargetUnits)


def bench_of(model: Model, name: str, setting: Setting, options: Options) -> Bench:
    """Prepare a FLOAT Model with its calibration rows; UserError where anything does not fit."""
    if model.stage is not Stage.FLOAT:
        raise UserError(
            f"quantised already ({model.provenance.bits})", name, "give the float network"
        )
    setting.units.check()
    seeds = _seeds(setting.seeds)
    chosen = None if options.task is None else options.task.value
    task = task_of(chosen, {name: model})
    model = fitted_by_targets(model)
    shape, output = model.graph.input.type.shape, model.graph.outputs[0].type.shape
    data = fit(read_labelled(setting.data, "the data"), shape, output, task)
    ood = read_ood(setting.ood, shape)
    rows = check_calibration(model, calibration_of(model))
    compiler = Compiler.of(model, rows, replace(options, task=task))
    return Bench(model, task, compiler, _some(data, setting.rows), ood, seeds, setting.units)


def place_of(source: object) -> str:
    """The name of a network in errors: its file, or the first of several, as it was given."""
    first = source[0] if isinstance(source, list | tuple) and source else source
    return os.fspath(first) if isinstance(first, str | os.PathLike) else title_of(source)


def title_of(source: object) -> str:
    """The name of a network in rows: that of its file, without folders and suffix."""
    first = source[0] if isinstance(source, list | tuple) and source else source
    if isinstance(first, str | os.PathLike):
        stem = os.path.splitext(os.path.basename(os.path.abspath(first)))[0]
        return stem or os.fspath(first)
    return "the model" if isinstance(source, Model) else type(source).__name__


def _seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(dict.fromkeys(as_integer(seed, "`seeds`") for seed in seeds))
    if not chosen:
        raise InputError("give one or more", "`seeds`")
    return chosen


def _some(data: LabelledData, rows: int | None) -> LabelledData:
    if rows is None or whole("rows", rows, 1) >= len(data):
        return data
    kept = evenly_spaced(len(data), rows)
    return LabelledData(data.x[kept], data.y[kept])
