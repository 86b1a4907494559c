"""Anything that predicts, compiled or not, behind one interface."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.artefacts import Predictor, QbnnArtefact, open_artefact
from qbnnc.evaluation.floats import float_samples
from qbnnc.ir import format
from qbnnc.ir.counts import as_first_row, check_asked
from qbnnc.ir.files import read_bytes
from qbnnc.ir.head import Task
from qbnnc.ir.inputs import as_batch, as_integer
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.passes.heads import fitted_by_targets, understood
from qbnnc.passes.pipeline import DEFAULT_SAMPLES
from qbnnc.runtime import load
from qbnnc.sources import SourceOptions, read
from qbnnc.verification import check_samples


@dataclass(frozen=True, slots=True)
class FloatPredictor:
    """A FLOAT or SIMULATED Model, computed in float32; make one with `of`."""

    model: Model
    samples: int

    @staticmethod
    def of(model: Model, task: Task | None = None) -> FloatPredictor:
        """With 20 samples, or 20 of each member, as a compiled model has; 1 if nothing is random.

        What belongs to the head of the task, such as a softmax at the end, becomes part of it.
        """
        model = understood(model, task)
        decided = model.stage is not Stage.FLOAT or not model.stochastic
        draws = model.draws if decided else DEFAULT_SAMPLES
        return FloatPredictor(model, draws * len(model.members))

    def with_task(self, task: Task) -> FloatPredictor:
        """The same network with the head of this task; UserError if it cannot have it."""
        return replace(self, model=understood(self.model, task))

    def predict(
        self,
        x: ArrayLike,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> Mapping[str, NDArray[np.float32]]:
        """As a compiled artefact does; `batch_size` has no effect."""
        batch = as_batch(x, self.model.graph.input.type.shape)
        check_samples(self.model, samples)
        count = self.samples if samples is None else samples
        outputs = sum(value.type.size for value in self.model.graph.outputs)
        check_asked(len(batch), count, len(self.model.members), outputs)
        numbers = as_integer(seed, "seed"), as_first_row(first_row)
        made = float_samples(self.model, batch, count, *numbers)
        names = self.model.head.sample_names(len(made))
        return dict(zip(names, made, strict=True)) | self.model.head.evaluate(made)


def is_compiled(source: object) -> TypeGuard[str | os.PathLike[str] | Model]:
    """Whether this is a compiled artefact's path, or an INTEGER Model; FileError if unreadable."""
    if isinstance(source, Model):
        return source.stage is Stage.INTEGER
    if not isinstance(source, str | os.PathLike) or Path(source).is_dir():
        return False
    data = read_bytes(source)
    if format.is_model(data):
        return format.from_bytes(data, source).stage is Stage.INTEGER
    return Path(source).suffix == ".onnx"


def open_compiled(source: str | os.PathLike[str] | Model, threads: int | None = None) -> Predictor:
    """The artefact in a file, or an INTEGER Model in our runtime."""
    return (
        QbnnArtefact(load(source)) if isinstance(source, Model) else open_artefact(source, threads)
    )


def open_float(
    source: object,
    rows: NDArray[np.float32],
    options: SourceOptions,
    task: Task | None = None,
) -> FloatPredictor:
    """A module, a Model, or whatever file `qbnnc compile` reads, in float.

    `rows` [N, *shape] are inputs with which a module, or weights, are traced. `task` is for a
    network without one, evaluated on data that fit its first output.
    """
    model = read(source, None if _is_model(source) else rows, options)
    if task is None or model.head.task is not Task.RAW:
        return FloatPredictor.of(model)
    return FloatPredictor.of(fitted_by_targets(model), task)


def _is_model(source: object) -> bool:
    """Whether it is a Model, or one in a file: no rows are needed to read it."""
    if isinstance(source, str | os.PathLike) and not Path(source).is_dir():
        return format.is_model(read_bytes(source))
    return isinstance(source, Model)
