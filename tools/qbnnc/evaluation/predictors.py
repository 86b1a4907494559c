"""Anything that predicts, compiled or not, behind one interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Generic, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.ids import rows_taken_by
from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.types import Stage
from qbnnc.loading.artefacts import Predictor, Wrapped, open_artefact
from qbnnc.loading.recorded_names import named_as_compiled
from qbnnc.loading.sources import SourceOptions, read
from qbnnc.passes.head.assign_head import fitted_by_targets, with_head
from qbnnc.passes.pipeline import DEFAULT_SAMPLES
from qbnnc.runtime import load
from qbnnc.support.files import read_bytes
from qbnnc.support.inputs import as_first_row, as_integer, check_asked
from qbnnc.support.several_inputs import Arrays
from qbnnc.verification.oracle import check_samples


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
        model = with_head(model, task)
        decided = model.stage is not Stage.FLOAT or not model.stochastic
        draws = model.draws if decided else DEFAULT_SAMPLES
        return FloatPredictor(model, draws * len(model.members))

    def with_task(self, task: Task) -> FloatPredictor:
        """The same network with the head of this task; UserError if it cannot have it."""
        return replace(self, model=with_head(self.model, task))

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> Mapping[str, NDArray[np.float32]]:
        """Predict as a compiled artefact does; `batch_size` has no effect."""
        batch = rows_taken_by(self.model.graph).of(x)
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
    return load(source) if isinstance(source, Model) else open_artefact(source, threads)


def open_float(
    source: object,
    rows: Arrays,
    options: SourceOptions,
    task: Task | None = None,
    artefacts: Sequence[Model] = (),
) -> FloatPredictor:
    """A module, a Model, or whatever file `qbnnc compile` reads, in float.

    `rows` [N, *shape], or the arrays of several inputs, are what a module, or weights, are traced
    with. `task` is for a network without one, evaluated on data that fit its first output. Names
    that `artefacts` of it record hold for outputs that have none.
    """
    model = read(source, None if _is_model(source) else rows, options)
    model = named_as_compiled(model, artefacts)
    if task is None or model.head.task is not Task.RAW:
        return FloatPredictor.of(model)
    return FloatPredictor.of(fitted_by_targets(model), task)


def _is_model(source: object) -> bool:
    """Whether it is a Model, or one in a file: no rows are needed to read it."""
    if isinstance(source, str | os.PathLike) and not Path(source).is_dir():
        return format.is_model(read_bytes(source))
    return isinstance(source, Model)


_ROWS = 64  # at a time: intermediate values are large


def float_samples(
    model: Model, x: NDArray[np.float32], samples: int, seed: int, first_row: int
) -> tuple[NDArray[np.float32], ...]:
    """The samples [L, B, *shape] of each output of a FLOAT or SIMULATED Model, for x [B, *shape].

    The random numbers are those of a compiled model at this seed (docs/semantics.md, section 5).
    The arithmetic is float32, by PyTorch where it is installed. Other batches, and the oracle, may
    differ in the last bits.
    """
    parts = [
        _samples(model, x[start : start + _ROWS], samples, seed, first_row + start)
        for start in range(0, max(1, len(x)), _ROWS)
    ]
    return tuple(np.concatenate(column, axis=1) for column in zip(*parts, strict=True))


def _samples(
    model: Model, x: NDArray[np.float32], samples: int, seed: int, first_row: int
) -> tuple[NDArray[np.float32], ...]:
    if find_spec("torch") is None:
        return oracle_samples(model, x, samples=samples, seed=seed, first_row=first_row)
    from qbnnc.backends.torch import torch_samples

    return torch_samples(model, x, samples=samples, seed=seed, first_row=first_row)


Floats = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Recording(Wrapped, Generic[T]):
    """A predictor that keeps something of each batch's prediction.

    `keep` gives what is kept. `sets` has a list of it for each set of rows.
    """

    session: Predictor
    keep: Callable[[Mapping[str, Floats]], T]
    sets: list[list[T]] = field(default_factory=list)

    @property
    def model(self) -> Model:
        return self.session.model

    def predict(
        self,
        x: Arrays,
        samples: int | None = None,
        seed: int = 0,
        first_row: int = 0,
        batch_size: int | None = None,
    ) -> Mapping[str, Floats]:
        """The session's prediction; row 0 begins another set."""
        made = self.session.predict(x, samples, seed, first_row, batch_size)
        if first_row == 0:
            self.sets.append([])
        self.sets[-1].append(self.keep(made))
        return made
