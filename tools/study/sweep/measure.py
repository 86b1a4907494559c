"""What a result holds of one predictor at one seed: metrics, curves and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.predictors import Recording
from qbnnc.evaluation.score import Scores, evaluate
from qbnnc.ir.head import class_shape
from qbnnc.ir.model import Model
from qbnnc.loading.artefacts import Predictor
from qbnnc.study.shifts import STANDARD_SHIFTS
from qbnnc.study.sweep.rows import Bin, Entropies, Result, Shifted
from qbnnc.study.sweep.work import Study

_BINS = 20  # of a histogram of entropies, from 0 to log K
_NAMES = {"entropy": "ape"}  # average predictive entropy, as the paper calls it
_OOD = "ood_"
Floats = NDArray[np.float32]
Certainty: TypeAlias = tuple[Floats, Floats]


def measure(study: Study, predictor: Predictor, empty: Result, *, shifted: bool) -> Result:
    """`empty` with everything that is measured; UserError if the network gives NaN."""
    recorder = Recording(predictor, _certainty)
    scores = _evaluate(study, recorder, study.test, empty.seed, study.ood)
    values = {name: m.mean for name, m in scores.measures.items()}
    ood = {_name(n.removeprefix(_OOD)): v for n, v in values.items() if n.startswith(_OOD)}
    filled = replace(
        empty,
        error=None,
        samples=scores.samples,
        metrics=_metrics(scores),
        ood=ood or None,
        calibration=tuple(Bin(b.count, b.confidence, b.accuracy) for b in scores.calibration)
        or None,
        shifts=_shifts(study, predictor, empty.seed) if shifted else (),
    )
    sets = [[kept for kept in batches if kept is not None] for batches in recorder.sets]
    return _with_histogram(filled, predictor.model, sets) if sets[0] else filled


def _certainty(prediction: Mapping[str, Floats]) -> Certainty | None:
    """Each row's entropy and confidence; None of a regression."""
    if "probabilities" not in prediction:
        return None
    confidence = prediction["probabilities"].max(axis=1).reshape(-1)
    return prediction["entropy"].reshape(-1), confidence


def _evaluate(
    study: Study, predictor: Predictor, data: LabelledData, seed: int, ood: Floats | None
) -> Scores:
    settings, model = study.settings, predictor.model
    draws = settings.samples
    return evaluate(
        predictor,
        data,
        task=settings.task,
        seeds=(seed,),
        samples=None if draws is None else draws * len(model.members),
        ood=ood,
        target_mean=settings.target_mean,
        target_std=settings.target_std,
    )


def _metrics(scores: Scores) -> dict[str, float]:
    return {_name(n): m.mean for n, m in scores.measures.items() if not n.startswith(_OOD)}


def _name(metric: str) -> str:
    return _NAMES.get(metric, metric)


def _shifts(study: Study, predictor: Predictor, seed: int) -> tuple[Shifted, ...]:
    """The metrics on the test images, rotated, brightened and moved."""
    found = []
    for shift in STANDARD_SHIFTS:
        data = replace(study.test, x=shift.apply(study.test.x))
        metrics = _metrics(_evaluate(study, predictor, data, seed, None))
        found.append(Shifted(shift.kind.value, shift.amount, metrics))
    return tuple(found)


def _with_histogram(
    result: Result, model: Model, recorded: Sequence[Sequence[Certainty]]
) -> Result:
    """Counts of entropies in test and confusion data; and the mean confidence in the latter."""
    classes = class_shape(model.graph.outputs[0].type.shape)[0]
    edges = np.linspace(0, np.log(classes), _BINS + 1)
    sets = [np.concatenate([e for e, _ in parts]).astype(np.float64) for parts in recorded]
    counts = [np.histogram(h.clip(edges[0], edges[-1]), edges)[0].tolist() for h in sets]
    test, ood = counts[0], counts[1] if result.ood is not None else None
    entropy = Entropies(tuple(edges.tolist()), tuple(test), None if ood is None else tuple(ood))
    if result.ood is None:
        return replace(result, entropy=entropy)
    confidence = np.concatenate([c for _, c in recorded[1]]).mean(dtype=np.float64)
    return replace(result, entropy=entropy, ood={**result.ood, "confidence": float(confidence)})
