"""The part that the estimators share: an artefact, its parameters and the checks of X."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.loading.artefacts import Artefact, OnnxFile, QbnnArtefact, open_artefact
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.frames import check_columns, is_frame
from qbnnc.support.inputs import as_rows

Source: TypeAlias = str | os.PathLike[str] | Model
Kind: TypeAlias = Literal["total", "epistemic"]
Floats: TypeAlias = NDArray[np.float32]
_ROWS = 4096  # at a time: samples are not kept


class CompiledEstimator(BaseEstimator):
    """An estimator of an artefact, which is opened when it is first needed."""

    task = Task.RAW

    def __init__(
        self,
        artefact: Source,
        *,
        samples: int | None = None,
        seed: int = 0,
        threads: int | None = None,
        by_position: bool = True,
    ) -> None:
        """Store the parameters; nothing is read or checked before `fit` or `predict`."""
        self.artefact = artefact
        self.samples = samples
        self.seed = seed
        self.threads = threads
        self.by_position = by_position

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Check that X and y fit the network; train nothing.

        X is [N, *shape] with the shape of the network's input, or a data frame of numeric columns,
        whose names later frames must have too. Raises ValueError or InputError if something does
        not fit, FileError for an artefact that cannot be read.
        """
        self.checked_rows(X, reset=True)
        if y is not None:
            check_consistent_length(X, y)
            self.check_y(y)
        return self

    def check_y(self, y: ArrayLike) -> None:
        raise NotImplementedError

    def checked_rows(self, X: ArrayLike, *, reset: bool = False) -> Floats:
        """X as the network takes it, held against what `fit` saw, if there was a fit."""
        if is_frame(X):
            check_columns(X, "X")
        if reset or hasattr(self, "n_features_in_"):
            found = validate_data(self, X, reset=reset, dtype=np.float32, order="C", allow_nd=True)
        else:
            found = check_array(X, dtype=np.float32, order="C", allow_nd=True, estimator=self)
        return as_rows(found, self._opened().input_shape, "X")

    def statistics(self, X: ArrayLike) -> dict[str, Floats]:
        """The statistics of all rows [N, ...] by name."""
        rows, artefact = self.checked_rows(X), self._opened()
        step = _ROWS if self.by_position or artefact.takes_row_ids else 1
        made = [
            self._predict(artefact, rows[start : start + step], start)
            for start in range(0, len(rows), step)
        ]
        names = [name for name in made[0] if not name.startswith("samples")]
        return {name: np.concatenate([part[name] for part in made]) for name in names}

    def _predict(
        self, artefact: Artefact, rows: Floats, start: int
    ) -> Mapping[str, NDArray[np.float32]]:
        """Predict rows that stand from `start` on; without positions each has the number 0."""
        if self.by_position:
            return artefact.predict(rows, self.samples, self.seed, start)
        if not artefact.takes_row_ids:  # then one row is given
            return artefact.predict(rows, self.samples, self.seed)
        ids = np.zeros(len(rows), np.int64)
        return artefact.predict(rows, self.samples, self.seed, row_ids=ids)

    def _opened(self) -> Artefact:
        """The artefact; it is opened once, and again when the parameters name another."""
        key = (self.artefact, self.threads)
        cached: tuple[object, Artefact] | None = self.__dict__.get("_cache")
        if cached is None or cached[0] != key:
            cached = key, _open(self.artefact, self.threads)
            _check_task(self.artefact, _head(cached[1]), self.task)
            self._cache = cached
        return cached[1]

    def output_shape(self, statistic: str) -> tuple[int, ...]:
        """The shape of a row of a statistic; InputError for a map, which is no estimator's."""
        artefact = self._opened()
        nothing = np.empty((0, *artefact.input_shape), np.float32)
        shape = artefact.predict(nothing)[statistic].shape[1:]
        if len(shape) > 1:
            raise InputError(
                f"its {statistic} are maps {list(shape)}, and scikit-learn takes one row of "
                "numbers each",
                place=_named(self.artefact),
                remedy="use qbnnc.runtime.load",
            )
        return shape

    def __getstate__(self) -> dict[str, object]:
        """Leave the opened artefact out: a copy opens its own."""
        state = dict(super().__getstate__())
        state.pop("_cache", None)
        return state

    def __sklearn_is_fitted__(self) -> bool:
        return True


def pretrained(tags: Tags) -> Tags:
    """The tags of an estimator that needs no `fit`, and was trained on other data than a test's."""
    tags.requires_fit = False
    tags.target_tags.required = False
    for its in (tags.classifier_tags, tags.regressor_tags):
        if its is not None:
            its.poor_score = True
    return tags


def _open(source: Source, threads: int | None) -> Artefact:
    if isinstance(source, Model):
        from qbnnc.runtime import load  # numba takes half a second, and an .onnx needs none

        return QbnnArtefact(load(source, threads))
    if isinstance(source, str | os.PathLike):
        return open_artefact(source, threads)
    raise InputError(
        f"{type(source).__name__} is none",
        place="`artefact`",
        remedy="give a .qbnn, an .onnx or a Model",
    )


def _head(artefact: Artefact) -> Head:
    """The head, which an .onnx without an embedded model has too."""
    if isinstance(artefact, OnnxFile):
        return artefact.session.description.head
    return artefact.model.head


def _check_task(source: Source, head: Head, task: Task) -> None:
    if head.task is Task.RAW:
        raise UserError(
            "does not say what its outputs are",
            place=_named(source),
            remedy=f"write it again with qbnnc compile --task {task.value}",
        )
    if head.task is not task:
        other = "Classifier" if task is Task.REGRESSION else "Regressor"
        raise UserError(
            f"a network of task {head.task.value}", _named(source), f"use Bayesian{other}"
        )


def check_kind(kind: str) -> None:
    if kind not in ("total", "epistemic"):
        raise InputError("choose total or epistemic", place=f"`kind` {kind!r}")


def _named(source: Source) -> str:
    return "the model" if isinstance(source, Model) else os.fspath(source)
