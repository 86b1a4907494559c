"""A compiled classification as a classifier of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, column_or_1d

from qbnnc.ir.head import Task
from qbnnc.sklearn.estimator import CompiledEstimator, Floats, Kind, Source, check_kind, pretrained
from qbnnc.support.errors import InputError


class BayesianClassifier(ClassifierMixin, CompiledEstimator):
    """A compiled network of task classification as a classifier.

    `classes` are the labels of the network's classes, in the order of its outputs. Without them the
    labels are the numbers 0..K-1 of the classes, and any other label in y is refused. `classes_`
    are the labels sorted, as scikit-learn expects, and so are the columns of `predict_proba`. The
    other parameters are those of BayesianRegressor.
    """

    task = Task.CLASSIFICATION

    def __init__(
        self,
        artefact: Source,
        *,
        classes: Sequence[object] | NDArray[np.generic] | None = None,
        samples: int | None = None,
        seed: int = 0,
        threads: int | None = None,
        by_position: bool = True,
    ) -> None:
        """Store the parameters; nothing is read or checked before `fit` or `predict`."""
        super().__init__(
            artefact, samples=samples, seed=seed, threads=threads, by_position=by_position
        )
        self.classes = classes

    @property
    def classes_(self) -> NDArray[np.generic]:
        """The labels [K], sorted."""
        labels = self._labels()
        return labels[np.argsort(labels, kind="stable")]

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the most probable label of each row [N]; the first in `classes_` of equal ones."""
        best: NDArray[np.generic] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return best

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Return the predictive probabilities [N, K] float32, columns in the order of `classes_`.

        They are means of the softmax over the samples.
        """
        order = np.argsort(self._labels(), kind="stable")
        return self.statistics(X)["probabilities"][:, order]

    def predict_uncertainty(self, X: ArrayLike, kind: Kind = "total") -> Floats:
        """Return the predictive entropy of each row [N] in nats.

        With `kind="epistemic"` it is the mutual information of class and weights.
        """
        check_kind(kind)
        return self.statistics(X)["entropy" if kind == "total" else "mutual_information"]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy; InputError for a label in y that is no class's."""
        self.check_y(y)
        return float(super().score(X, y, sample_weight))

    def _labels(self) -> NDArray[np.generic]:
        """The label of each class, in the order of the network's outputs."""
        count = self.output_shape("probabilities")[0]
        return np.arange(count) if self.classes is None else _given_labels(self.classes, count)

    def __sklearn_tags__(self) -> Tags:
        return pretrained(super().__sklearn_tags__())

    def check_y(self, y: ArrayLike) -> None:
        given = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype=None)
        check_classification_targets(given)
        labels = self._labels()
        known = set(labels.tolist())
        if unknown := [each for each in given.tolist() if each not in known]:
            if self.classes is None:
                raise InputError(
                    f"{unknown[0]!r}, and without `classes` labels are the network's class numbers "
                    f"0..{len(labels) - 1}",
                    place="y",
                    remedy="give `classes`, the label of each class in the order of the outputs",
                )
            raise InputError(f"{unknown[0]!r} is none of `classes` {labels.tolist()}", place="y")


def _given_labels(
    classes: Sequence[object] | NDArray[np.generic], count: int
) -> NDArray[np.generic]:
    """Labels that a user gave [K]; InputError unless there is one of its own for each class."""
    each = np.asarray(classes).tolist() if isinstance(classes, np.ndarray) else list(classes)
    if len(each) != count:
        raise InputError(
            f"{len(each)}, and the network has {count} classes",
            place="`classes`",
            remedy="give one for each, in the order of its outputs",
        )
    labels = np.asarray(each)
    texts = {isinstance(one, str) for one in each}
    if labels.ndim != 1 or labels.dtype.kind not in "iubfU" or len(texts) > 1:
        raise InputError("give numbers or texts, all of one kind", place="`classes`")
    if len(set(each)) < count or (labels.dtype.kind == "f" and not np.isfinite(labels).all()):
        raise InputError("give each class a label of its own", place="`classes`")
    return labels
