"""The parts of metrics: statistics of samples in float64, and samples of float models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbnnc.evaluation.predictors import open_float
from qbnnc.evaluation.statistics import class_statistics, moments
from qbnnc.ir.head import Head, Task
from qbnnc.loading.sources import SourceOptions
from qbnnc.runtime import metrics
from tools.models import LeNet_MCD


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_statistics_are_those_of_the_head(seed: int, samples: int) -> None:
    """The head rounds the same numbers to float32."""
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=(samples, 5, 4)) * 4).astype(np.float32)
    head = Head(Task.CLASSIFICATION).evaluate((logits,))
    p, information = class_statistics((logits,))
    assert p == pytest.approx(head["probabilities"], abs=1e-6)
    assert information == pytest.approx(head["mutual_information"], abs=1e-6)
    outputs = (logits[..., :2], logits[..., 2:])
    head = Head(Task.REGRESSION).evaluate(outputs)
    mean, epistemic, aleatoric = moments(outputs)
    assert mean == pytest.approx(head["mean"], abs=1e-6)
    assert epistemic == pytest.approx(head["epistemic"], rel=1e-5, abs=1e-12)
    assert aleatoric == pytest.approx(head["aleatoric"], rel=1e-5)


def test_variances_beyond_float32_are_ordinary_numbers() -> None:
    samples = np.zeros((2, 1, 1), np.float32), np.full((2, 1, 1), 200, np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(Head(Task.REGRESSION).evaluate(samples)["variance"]).all()
    mean, epistemic, aleatoric = moments(samples)
    nll = metrics.gaussian_nll(mean, epistemic + aleatoric, [[1.0]])
    assert nll == pytest.approx(100 + np.log(2 * np.pi) / 2)


def test_a_map_of_classes_has_a_label_for_each_place() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 2, 4, 5, 6)).astype(np.float32)
    p, information = class_statistics((logits,))
    assert p.shape == (60, 4)
    assert information.shape == (60,)
    places = np.moveaxis(logits[:, 1, :, 2, 3], 1, 1)[:, None]
    assert p[30 + 2 * 6 + 3] == pytest.approx(class_statistics((places,))[0][0])


def test_a_float_model_has_the_samples_of_any_split(lenet_mcd: LeNet_MCD) -> None:
    """Rows keep their random numbers beyond the 64 that are computed at once."""
    x = np.random.default_rng(0).uniform(0, 255, (66, 1, 28, 28)).astype(np.float32)
    predictor = open_float(lenet_mcd, x[:2], SourceOptions())
    assert predictor.samples == 20
    predictor = replace(predictor, samples=2)
    whole, tail = (
        predictor.predict(x[start:], seed=9, first_row=start)["samples"] for start in (0, 63)
    )
    assert whole[:, 63:] == pytest.approx(tail, abs=1e-4)
    assert np.abs(whole[0] - whole[1]).max() > 0.1
