"""Numbers that are asked for: refused at once beyond their limits, in every public entry."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qbnnc
from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.evaluation.predictors import FloatPredictor
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.runtime import load
from qbnnc.support import inputs
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import as_count, check_asked
from qbnnc.verification.oracle import Drawing, verify
from tests.backends.networks import Lenet
from tests.commands import Runner
from tests.strategies import input_batch

MODEL = Lenet().model()
X = input_batch(MODEL, 2)
WRONG = [0, -1, 10**12, 2**63, 2**64, 10**30, True, 1.0, 1.5, math.nan, math.inf, "7", b"7", [1]]


def test_the_model_is_random() -> None:
    assert MODEL.stochastic
    assert len(MODEL.members) == 1


@pytest.mark.parametrize("value", [*WRONG, 10**6 + 1], ids=repr)
def test_samples(value: Any) -> None:
    session, onnx, flat = (
        load(MODEL),
        OnnxArtefact.from_bytes(emit(MODEL)),
        FloatPredictor.of(MODEL),
    )
    for x in (X, X[:0]):
        for predictor in (session, onnx, flat):
            with pytest.raises(UserError, match="samples"):
                predictor.predict(x, samples=value)
        with pytest.raises(InputError, match="samples"):
            oracle_prediction(MODEL, x, samples=value)
    with pytest.raises(UserError, match="samples"):
        session.trace(X, samples=value)
    with pytest.raises(UserError, match="samples"):
        session.plan_summary(samples=value)
    with pytest.raises(UserError, match="samples"):
        emit(MODEL, samples=value)
    with pytest.raises(InputError, match="samples"):
        verify(MODEL, {}, X, Drawing(samples=value))


@pytest.mark.parametrize("value", [True, 1.0, math.nan, math.inf, "7", None, [1], 1j], ids=repr)
@pytest.mark.parametrize("name", ["seed", "first_row"])
def test_numbers_that_are_not_whole(name: str, value: Any) -> None:
    given = {name: value}
    for predictor in (load(MODEL), OnnxArtefact.from_bytes(emit(MODEL)), FloatPredictor.of(MODEL)):
        with pytest.raises(InputError, match=f"{name}: .* is not a whole number"):
            predictor.predict(X, **given)
    with pytest.raises(InputError, match=f"{name}: .* is not a whole number"):
        oracle_prediction(MODEL, X, samples=1, **given)


@pytest.mark.parametrize("value", [-(10**30), -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30])
def test_any_whole_number_is_a_seed(value: int) -> None:
    """And, from 0, the number of a row: both count mod 2^64."""
    session, onnx = load(MODEL), OnnxArtefact.from_bytes(emit(MODEL))
    for numbers in ({"seed": value}, {"seed": 1, "first_row": abs(value)}):
        expected = oracle_prediction(MODEL, X, samples=MODEL.samples, **numbers)
        for predictor in (session, onnx):
            assert (predictor.predict(X, **numbers)["samples"] == expected["samples"]).all()


@pytest.mark.few(7)
@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("name", ["batch_size", "threads"])
def test_batches_and_threads(name: str, value: Any) -> None:
    data = emit(MODEL)
    with pytest.raises(InputError, match=f"{name}: "):
        OnnxArtefact.from_bytes(data).predict(X, **{name: value})
    asked = partial(load, MODEL) if name == "threads" else partial(load(MODEL).predict, X)
    with pytest.raises(InputError, match=f"{name}: "):
        asked(**{name: value})


def test_more_rows_at_a_time_than_there_are() -> None:
    expected = load(MODEL).predict(X)["samples"]
    for predictor in (load(MODEL), OnnxArtefact.from_bytes(emit(MODEL))):
        assert (predictor.predict(X, batch_size=2**31 - 1)["samples"] == expected).all()


def test_what_a_prediction_takes() -> None:
    """4 bytes for each row, sample and number: 4 GiB is the limit, and is in the message."""
    check_asked(2**10, 2**10, 1, 2**10)
    with pytest.raises(InputError, match="take 4299161600 bytes, and a prediction 4294967296 at"):
        check_asked(2**10 + 1, 2**10, 1, 2**10)
    check_asked(0, 3 * 10**6, 3, 10**9)
    with pytest.raises(InputError, match="1000000 at most for each of the 3 members"):
        check_asked(0, 3 * 10**6 + 3, 3, 1)


def test_memory_is_told_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(value.type.size for value in MODEL.graph.outputs)
    session, onnx = load(MODEL), OnnxArtefact.from_bytes(emit(MODEL))
    most = 4 * 2 * MODEL.samples * size
    for limit, fits in ((most, True), (most - 1, False)):
        monkeypatch.setattr(inputs, "MOST_PREDICTED", limit)
        for predictor in (session, onnx):
            if fits:
                predictor.predict(X, samples=MODEL.samples)
            else:
                with pytest.raises(InputError, match=f"take {most} bytes"):
                    predictor.predict(X, samples=MODEL.samples)


@pytest.mark.parametrize("value", WRONG[:2] + WRONG[6:], ids=repr)
def test_a_count(value: Any) -> None:
    with pytest.raises(InputError, match=r"^rows: "):
        as_count(value, "rows", 10**40)
    assert as_count(np.uint8(7), "rows", 7) == 7
    with pytest.raises(InputError, match="rows: 8; give 7 or less"):
        as_count(8, "rows", 7)


@pytest.mark.parametrize("samples", [10**12])
def test_the_command_line(qbnnc_command: Runner, artefacts: Path, samples: int) -> None:
    rows = ("--input", "fashion.npz:x")
    weights = ("lenet_mcd.pt", "--model", "tools.models:LeNet_MCD", "--calib", "fashion.npz:calib")
    for command in (
        ("run", artefacts / "lenet.qbnn", *rows, "--samples", samples),
        ("run", artefacts / "lenet.onnx", *rows, "--samples", samples),
        ("verify", artefacts / "lenet.qbnn", *rows, "--samples", samples),
        ("verify", artefacts / "lenet.onnx", *rows, "--samples", samples),
        ("evaluate", artefacts / "lenet.qbnn", "--data", "fashion.npz", "--samples", samples),
        ("bench", artefacts / "lenet.qbnn", "--samples", samples, "--batch", 1),
        ("bench", artefacts / "lenet.qbnn", "--batch", samples * 10**6),
        ("bench", artefacts / "lenet.qbnn", "--threads", samples),
        ("inspect", artefacts / "lenet.qbnn", "--plan", "--batch", samples * 10**6),
        ("inspect", artefacts / "lenet.qbnn", "--plan", "--threads", samples),
        ("verify", artefacts / "lenet.onnx", *rows, "--threads", samples),
        ("run", artefacts / "lenet.qbnn", *rows, "--batch-size", samples * 10**6),
        ("compile", *weights, "--samples", samples, "-o", "out.qbnn"),
        ("compile", *weights, "--samples", samples, "-o", "out.onnx"),
    ):
        assert str(samples) in qbnnc_command.refused(*command), command


def test_the_samples_of_a_compile(tmp_path: Path) -> None:
    values: tuple[Any, ...] = (10**12, 2**63, True, 1.5, math.nan)
    for value in values:
        with pytest.raises(UserError, match="samples"):
            qbnnc.compile(MODEL, tmp_path / "a.qbnn", samples=value)
    assert not list(tmp_path.iterdir())
