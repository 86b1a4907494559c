"""Compiled networks as estimators of scikit-learn (extra `sklearn`).

    from qbnnc.sklearn import BayesianRegressor
    mean, std = BayesianRegressor("model.qbnn", samples=20).predict(X, return_std=True)

Nothing is trained here. `fit` checks shapes, names of columns and labels, and learns nothing else,
so that an estimator may stand in a pipeline, in `cross_val_score` or in FrozenEstimator.

A row draws the random numbers of its position in X, as everywhere in qbnnc. The same X gives the
same bits. A row alone, or elsewhere in X, has other samples of the same distribution. With
`by_position=False` each row is predicted alone, with the random numbers of row 0. Its prediction
then depends on nothing but the row. An .onnx without the input `row_ids` takes a call for each row.
"""

from qbnnc.support.extras import require

require("sklearn", what="qbnnc.sklearn")

from qbnnc.sklearn.classifier import BayesianClassifier  # noqa: E402
from qbnnc.sklearn.regressor import BayesianRegressor  # noqa: E402

__all__ = ["BayesianClassifier", "BayesianRegressor"]
