"""A compiled regression as a regressor of scikit-learn."""

from __future__ import annotations

from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_array, column_or_1d

from qbnnc.ir.head import Task
from qbnnc.sklearn.estimator import CompiledEstimator, Floats, Kind, check_kind, pretrained
from qbnnc.support.errors import InputError


class BayesianRegressor(RegressorMixin, CompiledEstimator):
    """A compiled network of task regression as a regressor.

    `artefact` is a .qbnn or .onnx file, or a Model. `samples` is L, by default as compiled.
    `threads`: how many cores a prediction may use. `by_position`: see the module.
    """

    task = Task.REGRESSION

    @overload
    def predict(
        self, X: ArrayLike, return_std: Literal[False] = ..., kind: Kind = ...
    ) -> Floats: ...

    @overload
    def predict(
        self, X: ArrayLike, return_std: Literal[True], kind: Kind = ...
    ) -> tuple[Floats, Floats]: ...

    def predict(
        self, X: ArrayLike, return_std: bool = False, kind: Kind = "total"
    ) -> Floats | tuple[Floats, Floats]:
        """Return the means, [N] for one target or [N, K], float32 in the units of training.

        With `return_std` also the standard deviations, of the same shape: the square root of the
        predictive variance, which is `aleatoric` + `epistemic`. With `kind="epistemic"` they are
        those of the samples' means alone.
        """
        check_kind(kind)
        self.output_shape("mean")
        made = self.statistics(X)
        mean = _flat(made["mean"])
        if not return_std:
            return mean
        return mean, np.sqrt(_flat(made["variance" if kind == "total" else "epistemic"]))

    def __sklearn_tags__(self) -> Tags:
        return pretrained(super().__sklearn_tags__())

    def check_y(self, y: ArrayLike) -> None:
        shape = self.output_shape("mean")
        if shape in ((), (1,)):
            check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype="numeric")
            return
        targets = check_array(y, ensure_2d=False, dtype="numeric")
        if targets.shape[1:] != shape:
            raise InputError(
                f"the shape is {list(targets.shape)}, and the network has {shape[0]} targets",
                place="y",
            )


def _flat(array: Floats) -> Floats:
    """[N] of one target."""
    return array.reshape(len(array)) if array.shape[1:] == (1,) else array
