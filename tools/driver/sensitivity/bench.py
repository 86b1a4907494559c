"""One float network on labelled data: what its compiled forms are measured with, always alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qbnnc.artefacts import Predictor, QbnnArtefact
from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.evaluation.recording import Recording
from qbnnc.evaluation.score import TargetUnits, evaluate
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.passes.heads import understood
from qbnnc.passes.options import Quantisation
from qbnnc.runtime import load
from qbnnc.runtime.metrics import Float64
from qbnnc.sensitivity.compiling import Compiler
from qbnnc.sensitivity.statistics import Distribution, distribution, row_nll

_NAMES = {"entropy": "ape", "ood_entropy": "ood_ape"}  # as in the rows of a study
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Metrics, the means over the seeds; and the predictions of the data's rows for each seed.

    `row_nll` [N] is the mean over the seeds, up to a constant of the data.
    """

    metrics: Mapping[str, float]
    predictions: tuple[Distribution, ...]
    row_nll: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """`seeds`, and so masks and eps, are the same for all that is measured: differences are paired.

    `ood` [N, *shape] are inputs of another distribution.
    """

    model: Model
    task: Task
    compiler: Compiler
    data: LabelledData
    ood: Floats | None
    seeds: tuple[int, ...]
    units: TargetUnits

    @property
    def samples(self) -> int:
        """L of everything that is measured."""
        return self.compiler.shell.draws * len(self.model.members)

    def integers(self, quantisation: Quantisation) -> Measured:
        """What the network gives in integers."""
        return self._measured(QbnnArtefact(load(self.compiler.compiled(quantisation))))

    def float32(self) -> Measured:
        """What it gives in float."""
        model = understood(self.model, self.task)
        return self._measured(replace(FloatPredictor.of(model), samples=self.samples))

    def _measured(self, predictor: Predictor) -> Measured:
        recorder = Recording(predictor, partial(_distribution, predictor.model.head))
        scores = evaluate(
            recorder,
            self.data,
            task=self.task,
            seeds=self.seeds,
            ood=self.ood,
            target_mean=self.units.mean,
            target_std=self.units.std,
        )
        metrics = {_NAMES.get(name, name): m.mean for name, m in scores.measures.items()}
        every = 2 if self.ood is not None else 1  # sets of confusion data are between
        predictions = _joined(recorder.sets[::every])
        each = [row_nll(self.task, predicted, self.data) for predicted in predictions]
        with np.errstate(invalid="ignore"):
            return Measured(metrics, predictions, np.mean(each, axis=0))


def _distribution(head: Head, prediction: Mapping[str, Floats]) -> Distribution:
    drawn = tuple(a for name, a in prediction.items() if name.startswith("samples"))
    return distribution(head, drawn)


def _joined(sets: Sequence[Sequence[Distribution]]) -> tuple[Distribution, ...]:
    """The distributions of each set, its batches joined."""
    return tuple(
        tuple(np.concatenate(column) for column in zip(*parts, strict=True)) for parts in sets
    )
