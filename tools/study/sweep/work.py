"""What a worker does: one job, from the float network to rows of results."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from qbnnc.evaluation.data import LabelledData
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.inspection.size import float_bytes
from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.ir.types import Array
from qbnnc.loading.artefacts import Predictor, QbnnArtefact
from qbnnc.passes.assign_head import with_head
from qbnnc.passes.pipeline import Options, lower_model, quantise_model
from qbnnc.runtime import load
from qbnnc.study.sweep.measure import measure
from qbnnc.study.sweep.plan import Item, Job
from qbnnc.study.sweep.rows import Header, Precision, Result
from qbnnc.study.sweep.settings import Settings, describe_array, digest
from qbnnc.support.errors import UserError
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
        predictor = FloatPredictor.of(with_head(model, study.settings.task))
        return predictor, {"float32": float_bytes(model)}
    options = study.settings.options(item.bits, model)
    if item.precision is Precision.PTQ:
        compiled = quantise_model(model, study.calibration, options, version=COMPILER)
    else:
        compiled = _fine_tuned(study, model, options, item.seed)
    return QbnnArtefact(load(compiled, threads=1)), {"qbnn": len(format.to_bytes(compiled))}


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


Floats = NDArray[np.float32]
Labels = NDArray[np.int64] | NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Study:
    """Pickles whole, so that it can be sent to machines that have none of the files.

    `models` are FLOAT Models as the bytes of their files, by the network's name. `calibration`
    [N, *shape], at most 512 rows, decides the ranges. `train` [N, *shape] and its labels or
    targets, if there are any, are for fine-tuning; without it, None will do. `ood` [N, *shape] are
    inputs from elsewhere, confusion data.
    """

    models: Mapping[str, bytes]
    calibration: Floats
    train: Floats | None
    train_labels: Labels | None
    test: LabelledData
    ood: Floats | None
    settings: Settings

    def model(self, network: str) -> Model:
        """The FLOAT Model of a network."""
        return format.from_bytes(self.models[network], network)

    @cached_property
    def configuration(self) -> dict[str, str]:
        """Everything that decides a result, given its key; equal texts, equal results."""
        arrays: dict[str, Array] = {
            "calibration": self.calibration,
            "test": self.test.x,
            "test labels": self.test.y,
        }
        if self.train is not None:
            arrays["train"] = self.train
        if self.train_labels is not None:
            arrays["train labels"] = self.train_labels
        if self.ood is not None:
            arrays["confusion"] = self.ood
        texts = {name: describe_array(array) for name, array in arrays.items()}
        for name in self.models:
            model = self.model(name)
            texts[f"network {name}"] = f"{model.method}, sha256 {format.digest(model)[:12]}"
        return texts | self.settings.describe() | {"compiler": COMPILER}

    def header(self, name: str, command: str = "") -> Header:
        """The first row of its file. `command` is for people."""
        methods = list(dict.fromkeys(self.model(network).method for network in self.models))
        made = {"qbnnc": COMPILER.split()[-1], **_versions(), "python": platform.python_version()}
        return Header(
            name,
            ", ".join(methods),
            self.settings.task,
            digest(self.configuration),
            made | ({"command": command} if command else {}),
            self.configuration,
        )


def _versions() -> dict[str, str]:
    found = {}
    for package in ("torch", "numpy", "numba"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
