"""What a worker does: one job, from the float network to rows of results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from qbnnc.artefacts import Predictor, QbnnArtefact
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.inspection.size import float_bytes
from qbnnc.ir import format
from qbnnc.ir.errors import UserError
from qbnnc.ir.model import Model
from qbnnc.passes.heads import understood
from qbnnc.passes.pipeline import Options, lower_model, quantise_model
from qbnnc.runtime import load
from qbnnc.sweep.measure import measure
from qbnnc.sweep.plan import Item, Job
from qbnnc.sweep.rows import Precision, Result
from qbnnc.sweep.study import Study
from qbnnc.version import COMPILER


def work(study: Study, job: Job) -> tuple[Result, ...]:
    """The rows of a job. Whatever goes wrong becomes the error in its rows."""
    start, first = time.perf_counter(), job.items[0]
    # What overflows is told by the metrics: an infinity, or an error that names the row.
    with _one_thread(first.precision is not Precision.PTQ), np.errstate(all="ignore"):
        try:
            predictor, sizes = _predictor(study, study.model(job.network), first)
        except Exception as error:
            return failures(study, job, describe(error))
        shared = (time.perf_counter() - start) / len(job.items)
        return tuple(_result(study, item, predictor, sizes, shared) for item in job.items)


def failures(study: Study, job: Job, error: str) -> tuple[Result, ...]:
    """Rows that say why there is no result."""
    method = study.model(job.network).method
    return tuple(replace(_empty(item, method), error=error) for item in job.items)


def describe(error: BaseException) -> str:
    """One line; what is no mistake in model, data or options, with the error's type."""
    text = " ".join(str(error).split())
    match error:
        case UserError():
            return text
        case MemoryError():
            return f"out of memory ({text or 'no more is known'}): try fewer --workers"
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
    return replace(result, sizes=sizes, seconds=round(shared + time.perf_counter() - start, 3))


def _empty(item: Item, method: str) -> Result:
    """A row in which only the item is told."""
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
    """What predicts, and its size in bytes."""
    if item.bits is None:
        predictor = FloatPredictor.of(understood(model, study.settings.task))
        return predictor, {"float32": float_bytes(model)}
    options = study.settings.options(item.bits, model)
    if item.precision is Precision.PTQ:
        compiled = quantise_model(model, study.calibration, options, version=COMPILER)
    else:
        compiled = _fine_tuned(study, model, options, item.seed)
    return QbnnArtefact(load(compiled, threads=1)), {"qbnn": len(format.to_bytes(compiled))}


def _fine_tuned(study: Study, model: Model, options: Options, seed: int) -> Model:
    """The INTEGER Model after quantisation-aware training."""
    from qbnnc.finetuning import finetune

    assert study.train is not None
    training = study.settings.tuning.training(seed)
    model = replace(model, calibration=study.calibration)
    tuned = finetune(model, study.train, study.train_labels, options, training, version=COMPILER)
    return lower_model(tuned)


@contextmanager
def _one_thread(uses_torch: bool) -> Iterator[None]:
    """Jobs run side by side, and torch's sums depend on its number of threads."""
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
