"""One job of a worker: from the float network to rows of results."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from statistics import median
from typing import TypeAlias

import numpy as np

from qbnnc.evaluation.predictors import Recording
from qbnnc.evaluation.score import Scores
from qbnnc.inspection.report import inspect
from qbnnc.inspection.size import float_bytes
from qbnnc.ir import format
from qbnnc.ir.head import class_shape
from qbnnc.ir.model import Model
from qbnnc.loading.artefacts import Predictor
from qbnnc.passes.pipeline import Options, lower_model, quantise_model
from qbnnc.runtime import load
from qbnnc.study.plan import Item, Job
from qbnnc.study.references import distances, float_predictor, scores_of
from qbnnc.study.results import Bin, Entropies, Precision, Result, Shifted
from qbnnc.study.settings import Floats, Study
from qbnnc.study.shifts import STANDARD_SHIFTS
from qbnnc.support.errors import UserError
from qbnnc.version import COMPILER

_TIMED = 5  # predictions of one row, whose median time is kept
_BINS = 20  # of a histogram of entropies, from 0 to log K
_NAMES = {"entropy": "ape"}  # average predictive entropy, as the paper calls it
_OOD = "ood_"
Certainty: TypeAlias = tuple[Floats, Floats]


def work(study: Study, job: Job) -> tuple[Result, ...]:
    """Compute the rows of a job; any failure becomes the error in its rows."""
    start, first = time.perf_counter(), job.items[0]
    # Metrics show an overflow: an infinity, or an error that names the row.
    with _one_thread(first.precision is not Precision.PTQ), np.errstate(all="ignore"):
        try:
            predictor, sizes = _predictor(study, study.model(job.network), first)
        except Exception as error:
            return failures(study, job, describe(error))
        shared = (time.perf_counter() - start) / len(job.items)
        return tuple(_result(study, item, predictor, sizes, shared) for item in job.items)


def failures(study: Study, job: Job, error: str) -> tuple[Result, ...]:
    """Rows with the error in place of a result."""
    method = study.model(job.network).method
    return tuple(replace(_empty(item, method), error=error) for item in job.items)


def describe(error: BaseException) -> str:
    """The error as one line, with its type unless the user can mend it."""
    text = " ".join(str(error).split())
    match error:
        case UserError():
            return text
        case MemoryError():
            return f"out of memory ({text or 'no more is known'}): try fewer `workers`"
        case _:
            return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _result(
    study: Study, item: Item, predictor: Predictor, sizes: dict[str, int], shared: float
) -> Result:
    start = time.perf_counter()
    shifted = study.settings.shifted is not None and item.bits in (None, study.settings.shifted)
    empty = _empty(item, predictor.model.method)
    try:
        result = measure(study, predictor, empty, shifted=shifted)
    except Exception as error:
        return replace(empty, error=describe(error))
    costs = {} if item.bits is None else costs_of(predictor, study.test.x[:1], result.samples)
    taken = round(shared + time.perf_counter() - start, 3)
    return replace(result, sizes=sizes, costs=costs, seconds=taken)


def costs_of(predictor: Predictor, row: Floats, samples: int) -> dict[str, float]:
    """The MACs, and the milliseconds of CPU time, of one row [1, *shape] with its samples."""
    report = inspect(predictor.model, 0)
    own = report.prefix_macs - report.shared_macs
    macs = report.shared_macs + report.members * own + samples * report.sample_macs
    times = []
    for _ in range(_TIMED + 1):
        start = time.process_time()
        predictor.predict(row, samples=samples)
        times.append(time.process_time() - start)
    return {"macs": float(macs), "milliseconds": round(1e3 * median(times[1:]), 4)}


def _empty(item: Item, method: str) -> Result:
    """A row that only names the item."""
    bits = item.bits
    return Result(
        item.key,
        item.network,
        method,
        item.precision,
        None if bits is None else bits.weights,
        None if bits is None else bits.activations,
        item.seed,
        0,
        error="not measured",
    )


def _predictor(study: Study, model: Model, item: Item) -> tuple[Predictor, dict[str, int]]:
    """The predictor of an item, and its size in bytes by file format."""
    if item.bits is None:
        return float_predictor(study, item.network), {"float32": float_bytes(model)}
    options = study.settings.options(item.bits, model)
    if item.precision is Precision.PTQ:
        compiled = quantise_model(model, study.calibration, options, version=COMPILER)
    else:
        compiled = _fine_tuned(study, model, options, item.seed)
    return load(compiled, threads=1), {"qbnn": len(format.to_bytes(compiled))}


def _fine_tuned(study: Study, model: Model, options: Options, seed: int) -> Model:
    """The INTEGER Model after quantisation-aware training."""
    from qbnnc.backends.torch.training import finetune

    assert study.train is not None
    training = study.settings.tuning.training(seed)
    model = replace(model, calibration=study.calibration)
    tuned = finetune(model, study.train, study.train_labels, options, training, version=COMPILER)
    return lower_model(tuned)


@contextmanager
def _one_thread(uses_torch: bool) -> Iterator[None]:
    """Limit torch to one thread: jobs run side by side, and its sums depend on the number."""
    if not uses_torch or find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(study: Study, predictor: Predictor, empty: Result, *, shifted: bool) -> Result:
    """Fill `empty` with all measurements; UserError if the network gives NaN."""
    recorder = Recording(predictor, _certainty)
    scores = scores_of(study, recorder, study.test, empty.seed, study.ood)
    (rows,) = scores.rows_of_seeds
    values = {name: m.mean for name, m in scores.measures.items()}
    ood = {_name(n.removeprefix(_OOD)): v for n, v in values.items() if n.startswith(_OOD)}
    filled = replace(
        empty,
        error=None,
        samples=scores.samples,
        metrics=_metrics(scores) | distances(study, empty, rows, random=scores.random),
        ood=ood or None,
        calibration=tuple(Bin(b.count, b.confidence, b.accuracy) for b in scores.calibration)
        or None,
        shifts=_shifts(study, predictor, empty.seed) if shifted else (),
    )
    sets = [[kept for kept in batches if kept is not None] for batches in recorder.sets]
    return _with_histogram(filled, predictor.model, sets) if sets[0] else filled


def _certainty(prediction: Mapping[str, Floats]) -> Certainty | None:
    """Each row's entropy and confidence; None for a regression."""
    if "probabilities" not in prediction:
        return None
    confidence = prediction["probabilities"].max(axis=1).reshape(-1)
    return prediction["entropy"].reshape(-1), confidence


def _metrics(scores: Scores) -> dict[str, float]:
    return {_name(n): m.mean for n, m in scores.measures.items() if not n.startswith(_OOD)}


def _name(metric: str) -> str:
    return _NAMES.get(metric, metric)


def _shifts(study: Study, predictor: Predictor, seed: int) -> tuple[Shifted, ...]:
    """The metrics on the test images, rotated, brightened and moved."""
    found = []
    for shift in STANDARD_SHIFTS:
        data = replace(study.test, x=shift.apply(study.test.x))
        metrics = _metrics(scores_of(study, predictor, data, seed, None))
        found.append(Shifted(shift.kind.value, shift.amount, metrics))
    return tuple(found)


def _with_histogram(
    result: Result, model: Model, recorded: Sequence[Sequence[Certainty]]
) -> Result:
    """Add counts of entropies on both kinds of data, and the mean confidence on OOD data."""
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
