"""scikit-learn's own checks of estimators, on networks of the size that each check asks for.

The checks make data of many widths, and a network has one. So the estimators of this file are given
a network that fits when they are fitted. All else is the estimators' own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

pytest.importorskip("sklearn")

from scipy.sparse import sparray, spmatrix
from sklearn.utils.estimator_checks import parametrize_with_checks

from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Dequantize
from qbnnc.loading.artefacts import Artefact, QbnnArtefact
from qbnnc.runtime import load
from qbnnc.sklearn import BayesianClassifier, BayesianRegressor
from qbnnc.support.inputs import as_array
from tests.runtime.nets import Net, codes


def network(features: int, outputs: int, task: Task) -> Model:
    """A random network of one hidden layer under dropout."""
    net = Net((features,), 1, codes(0.05, 64))
    net.linear(8)
    net.requantize(codes(0.06, 20), low=20)
    net.dropout(0.1)
    net.linear(outputs)
    return net.model(net.emit(Dequantize()), task=task, draws=3)


class AnyRegressor(BayesianRegressor):
    """A regressor whose network has as many inputs as the X that it is fitted to."""

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        self._network = network(width(X), 1, Task.REGRESSION)
        return super().fit(X, y)

    def _opened(self) -> Artefact:
        return QbnnArtefact(load(self._network))


class AnyClassifier(BayesianClassifier):
    """A classifier whose network also has as many classes as y has labels."""

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        labels = np.unique(as_array([] if y is None else y, "y"))
        self._seen = labels if len(labels) > 1 else np.arange(2)
        self._network = network(width(X), len(self._seen), Task.CLASSIFICATION)
        return super().fit(X, y)

    def _opened(self) -> Artefact:
        return QbnnArtefact(load(self._network))

    def _labels(self) -> NDArray[np.generic]:
        return self._seen


def width(X: object) -> int:
    """The number of features; 1 for what is no table, which the estimator shall refuse."""
    shape = X.shape if isinstance(X, sparray | spmatrix) else np.shape(np.asarray(X))
    return shape[1] if len(shape) == 2 and shape[1] else 1


BY_POSITION = "a row draws the random numbers of its position; by_position=False passes"
FAILURES = {
    "check_methods_sample_order_invariance": BY_POSITION,
    "check_methods_subset_invariance": BY_POSITION,
}


def failures(estimator: object) -> dict[str, str]:
    return FAILURES if getattr(estimator, "by_position", False) else {}


def estimators(*, by_position: bool) -> list[object]:
    return [
        AnyRegressor(network(1, 1, Task.REGRESSION), by_position=by_position),
        AnyClassifier(network(1, 2, Task.CLASSIFICATION), by_position=by_position),
    ]


checks = parametrize_with_checks(
    [*estimators(by_position=False), *estimators(by_position=True)],
    expected_failed_checks=failures,
)


@pytest.mark.few(20)
@checks  # type: ignore[untyped-decorator]
def test_checks(estimator: object, check: Callable[[object], None]) -> None:
    check(estimator)
