"""Compiled networks in scikit-learn: predictions, labels, parameters, and the tools around them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss, make_scorer, mean_squared_error
from sklearn.model_selection import cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from qbnnc.backends.onnx import emit
from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.loading.artefacts import OnnxFile, QbnnArtefact
from qbnnc.runtime import load
from qbnnc.sklearn import BayesianClassifier, BayesianRegressor
from qbnnc.support.errors import FileError, InputError, UserError
from tests.qbnnc.test_sklearn_checks import network

Fashion = dict[str, NDArray[np.uint8]]
Diabetes = dict[str, NDArray[np.float32]]
GARMENTS = "shirt trouser pullover dress coat sandal blouse sneaker bag boot".split()


@pytest.fixture
def x() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["qbnn", "onnx"])
def test_a_regressor_gives_the_oracles_moments(
    artefacts: Path, diabetes: Diabetes, suffix: str
) -> None:
    X = diabetes["x_test"]
    regressor = BayesianRegressor(artefacts / f"mlp.{suffix}", samples=6, seed=3)
    expected = oracle_prediction(format.load(artefacts / "mlp.qbnn"), X, samples=6, seed=3)
    mean, std = regressor.predict(X, return_std=True)
    _, epistemic = regressor.predict(X, return_std=True, kind="epistemic")
    assert mean.shape == std.shape == (90,)
    np.testing.assert_allclose(mean, expected["mean"][:, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(expected["variance"][:, 0]), rtol=1e-5)
    np.testing.assert_allclose(epistemic, np.sqrt(expected["epistemic"][:, 0]), rtol=1e-5)
    assert (std > epistemic).all()


def test_a_classifier_gives_the_oracles_probabilities(artefacts: Path, fashion: Fashion) -> None:
    X = fashion["x"][:30]
    classifier = BayesianClassifier(artefacts / "lenet.onnx", samples=4, seed=1)
    model = format.load(artefacts / "lenet.qbnn")
    expected = oracle_prediction(model, X.astype(np.float32), samples=4, seed=1)
    np.testing.assert_allclose(classifier.predict_proba(X), expected["probabilities"], atol=1e-6)
    assert classifier.classes_.tolist() == list(range(10))
    np.testing.assert_array_equal(classifier.predict(X), expected["probabilities"].argmax(axis=1))
    for kind, name in (("total", "entropy"), ("epistemic", "mutual_information")):
        found = classifier.predict_uncertainty(X, kind)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected[name], atol=1e-6)


def test_labels_are_sorted_and_columns_follow(artefacts: Path, fashion: Fashion) -> None:
    X, y = fashion["x"][:40], fashion["y"][:40]
    numbers = BayesianClassifier(artefacts / "lenet.qbnn", samples=2)
    named = BayesianClassifier(artefacts / "lenet.qbnn", samples=2, classes=GARMENTS)
    words = np.array(GARMENTS)
    assert named.classes_.tolist() == sorted(GARMENTS)
    order = [GARMENTS.index(word) for word in sorted(GARMENTS)]
    np.testing.assert_array_equal(named.predict_proba(X), numbers.predict_proba(X)[:, order])
    np.testing.assert_array_equal(named.predict(X), words[numbers.predict(X)])
    assert named.score(X, words[y]) == numbers.score(X, y) > 0.7
    loss = log_loss(words[y], named.predict_proba(X), labels=named.classes_)
    assert loss == pytest.approx(log_loss(y, numbers.predict_proba(X), labels=range(10)))


@pytest.mark.parametrize(
    ("classes", "y", "message"),
    [
        (None, ["cat", "dog"], "y: 'cat', and without `classes` labels are .* class numbers 0..2"),
        (None, [1, 3], "y: 3, and without `classes`"),
        (None, [-1, 1], "y: -1, and without"),
        ([1, 2, 3], [0, 1], r"y: 0 is none of `classes` \[1, 2, 3\]"),
        (["a", "b", "c"], [0, 1], r"y: 0 is none of `classes` \['a', 'b', 'c'\]"),
        (["a", "b"], ["a", "b"], "`classes`: 2, and the network has 3 classes; give one for each"),
        (["a", "b", "b"], ["a", "b"], "a label of its own"),
        (["a", "b", 3], ["a", "b"], "all of one kind"),
        ([0.0, 1.0, np.nan], [0.0, 1.0], "a label of its own"),
        ([[0], [1], [2]], [0, 1], "numbers or texts"),
    ],
)
def test_labels_are_never_guessed(
    x: NDArray[np.float32], classes: list[object] | None, y: list[object], message: str
) -> None:
    classifier = BayesianClassifier(network(3, 3, Task.CLASSIFICATION), classes=classes)
    for method in (classifier.fit, classifier.score):
        with pytest.raises(InputError, match=message):
            method(x, np.array(y * 3))


def test_whole_floats_and_booleans_are_class_numbers(x: NDArray[np.float32]) -> None:
    classifier = BayesianClassifier(network(3, 2, Task.CLASSIFICATION))
    y = classifier.predict(x)
    assert classifier.score(x, y.astype(np.float64)) == 1
    assert classifier.score(x, y.astype(bool)) == 1
    with pytest.raises(ValueError, match="continuous"):
        classifier.fit(x, y.astype(np.float64) + 0.5)


def test_one_logit_is_class_one_of_two(x: NDArray[np.float32]) -> None:
    classifier = BayesianClassifier(network(3, 1, Task.CLASSIFICATION), classes=["no", "yes"])
    p = classifier.predict_proba(x)
    assert p.shape == (6, 2)
    assert classifier.predict(x).tolist() == ["yes" if b > a else "no" for a, b in p.tolist()]


def test_parameters_are_stored_and_copied(artefacts: Path, x: NDArray[np.float32]) -> None:
    source = network(3, 1, Task.REGRESSION)
    regressor = BayesianRegressor(source, samples=3, seed=8, threads=1)
    assert regressor.get_params() == {
        "artefact": source,
        "samples": 3,
        "seed": 8,
        "threads": 1,
        "by_position": True,
    }
    expected = regressor.predict(x)
    for again in (
        clone(regressor),
        copy.deepcopy(regressor),
        pickle.loads(pickle.dumps(regressor)),
    ):
        np.testing.assert_array_equal(again.predict(x), expected)
    regressor.set_params(artefact=network(3, 1, Task.REGRESSION), seed=9)
    assert regressor.predict(x).tobytes() != expected.tobytes()
    regressor.set_params(artefact=artefacts / "mlp.qbnn")
    with pytest.raises(
        InputError, match=r"X: the shape is \[6, 3\], and the network takes \[batch, 10"
    ):
        regressor.predict(x)


def test_what_is_no_artefact_is_told_when_it_is_used(
    artefacts: Path, tmp_path: Path, x: NDArray[np.float32]
) -> None:
    (tmp_path / "text.qbnn").write_text("hello")
    with pytest.raises(FileError, match="neither a compiled"):
        BayesianRegressor(tmp_path / "text.qbnn").fit(x)
    with pytest.raises(InputError, match=r"`artefact`: int is none; give a \.qbnn"):
        BayesianRegressor(3).predict(x)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"mlp.onnx: a network of task regression; use BayesianReg"):
        BayesianClassifier(artefacts / "mlp.onnx").predict(x)
    with pytest.raises(UserError, match="qbnnc compile --task regression"):
        BayesianRegressor(network(3, 1, Task.RAW)).predict(x)
    with pytest.raises(InputError, match="`kind` 'all': choose total or epistemic"):
        BayesianRegressor(network(3, 1, Task.REGRESSION)).predict(x, kind="all")  # type: ignore[call-overload]


def test_several_targets(x: NDArray[np.float32]) -> None:
    regressor = BayesianRegressor(network(3, 2, Task.REGRESSION))
    mean, std = regressor.predict(x, return_std=True)
    assert mean.shape == std.shape == (6, 2)
    assert regressor.fit(x, mean).score(x, mean) == 1
    with pytest.raises(InputError, match=r"y: the shape is \[6, 3\], .* has 2 targets"):
        regressor.fit(x, x)


def test_a_row_depends_on_its_position_unless_told_otherwise(x: NDArray[np.float32]) -> None:
    equal = np.repeat(x[:1], 6, axis=0)
    model = network(3, 1, Task.REGRESSION)
    by_position = BayesianRegressor(model, samples=5).predict(equal)
    alone = BayesianRegressor(model, samples=5, by_position=False)
    assert len(set(by_position.tolist())) > 1
    assert set(alone.predict(equal).tolist()) == {by_position[0]}
    np.testing.assert_array_equal(alone.predict(x[::-1]), alone.predict(x)[::-1])


@pytest.mark.parametrize(("file", "calls"), [("a.qbnn", 1), ("ids.onnx", 1), ("a.onnx", 6)])
def test_rows_alone_take_one_call_where_rows_have_numbers(
    file: str, calls: int, x: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bits are those of each row predicted alone, as row 0."""
    model = network(3, 1, Task.REGRESSION)
    format.save(model, tmp_path / "a.qbnn")
    (tmp_path / "a.onnx").write_bytes(emit(model))
    (tmp_path / "ids.onnx").write_bytes(emit(model, row_ids=True))
    session = load(tmp_path / "a.qbnn")
    expected = [session.predict(x[i : i + 1], samples=3, seed=5)["mean"][0, 0] for i in range(6)]
    regressor = BayesianRegressor(tmp_path / file, samples=3, seed=5, by_position=False)
    kind, seen = OnnxFile if file.endswith("onnx") else QbnnArtefact, list[int]()
    predict = kind.predict

    def counting(self: object, rows: NDArray[np.float32], *rest: Any, **named: Any) -> Any:
        seen.append(len(rows))
        return predict(self, rows, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "predict", counting)
    found = regressor.statistics(x)["mean"][:, 0]
    assert found.tobytes() == np.array(expected, np.float32).tobytes()
    assert len(seen) == calls


def test_more_rows_than_are_predicted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    regressor = BayesianRegressor(network(3, 1, Task.REGRESSION), samples=4)
    X = np.random.default_rng(1).normal(size=(50, 3))
    whole = regressor.predict(X)
    monkeypatch.setattr("qbnnc.sklearn.estimator._ROWS", 7)
    np.testing.assert_array_equal(regressor.predict(X), whole)


def test_names_of_columns(x: NDArray[np.float32]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=["a", "b", "c"])
    regressor = BayesianRegressor(network(3, 1, Task.REGRESSION))
    expected = regressor.predict(frame)  # not fitted, so that no names are known
    regressor.fit(frame, expected)
    assert regressor.feature_names_in_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(regressor.predict(frame), expected)
    with pytest.raises(ValueError, match="feature names should match"):
        regressor.predict(frame[["b", "a", "c"]])
    with pytest.raises(InputError, match="X: column 'b' holds"):
        regressor.predict(frame.assign(b="text"))


def test_a_pipeline_of_images_and_its_scores(artefacts: Path, fashion: Fashion) -> None:
    X, y = fashion["x"][:60].reshape(60, 784), fashion["y"][:60]
    shape = FunctionTransformer(_images)
    classifier = BayesianClassifier(artefacts / "lenet.qbnn", samples=2)
    pipeline = make_pipeline(shape, classifier).fit(X, y)
    assert pipeline.score(X, y) == classifier.score(fashion["x"][:60], y)
    scores = cross_val_score(pipeline, X, y, cv=3)
    assert scores.min() > 0.5
    found = cross_validate(pipeline, X, y, cv=2, scoring=["accuracy", "neg_log_loss"])
    assert np.isfinite(found["test_neg_log_loss"]).all()


def _images(X: NDArray[np.generic]) -> NDArray[np.generic]:
    return X.reshape(-1, 1, 28, 28)


def test_scorers_and_scalers(artefacts: Path, diabetes: Diabetes) -> None:
    X, y = diabetes["x_test"], diabetes["y_test"][:, 0]
    regressor = BayesianRegressor(artefacts / "mlp.qbnn", samples=8)
    scaled = make_pipeline(StandardScaler(), FrozenEstimator(regressor)).fit(X, y)
    assert scaled.score(X, y) > 0.2
    scorer = make_scorer(mean_squared_error)
    assert scorer(regressor, X, y) == pytest.approx(((regressor.predict(X) - y) ** 2).mean())
    mean, std = make_pipeline(regressor).predict(X, return_std=True)
    assert mean.shape == std.shape == (90,)


def test_calibration(artefacts: Path, fashion: Fashion) -> None:
    X, y = fashion["x"], fashion["y"]
    classifier = BayesianClassifier(artefacts / "lenet.qbnn", samples=2)
    p = classifier.predict_proba(X)
    true, predicted = calibration_curve(y == 1, p[:, 1], n_bins=5)
    assert true.shape == predicted.shape
    flat = X.reshape(len(X), 784)
    pipeline = make_pipeline(FunctionTransformer(_images), classifier)
    again = CalibratedClassifierCV(FrozenEstimator(pipeline), method="sigmoid").fit(flat, y)
    assert again.classes_.tolist() == list(range(10))
    assert again.score(flat, y) > 0.7


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    import qbnnc.sklearn

    monkeypatch.setattr("qbnnc.support.extras.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'qbnnc\[sklearn\]'"):
        importlib.reload(qbnnc.sklearn)
