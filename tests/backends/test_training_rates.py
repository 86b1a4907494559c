"""The learning rate and the number of steps: given, tried, or too large."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qbnnc.backends.torch.training import (
    Diverged,
    FineTuning,
    Loss,
    Training,
    member,
)
from qbnnc.ir import format
from tests.backends.training import LOW, QUICK, model_of, rows, targets, told
from tests.graphs import mlp


def test_the_rate_is_the_best_of_several_that_were_tried() -> None:
    model, training = model_of(mlp()), Training(steps=40, batch_size=16)
    tuned, progress = told(model, None, training)
    assert [p.step for p in progress[:5]] == [0, 10, 20, 30, 40]  # the start, and four trials
    assert progress[-1].step == progress[-1].steps == 4 * 10 + 40
    best = min(range(4), key=lambda trial: progress[1 + trial].validation)
    rate = (3e-4, 1e-3, 3e-3, 1e-2)[best]
    alone, same = told(model, None, replace(training, lr=rate))
    assert [p.validation for p in progress[5:]] == [p.validation for p in same[1:]]
    assert progress[-1].best <= same[-1].best
    assert tuned.provenance.training.startswith("40 steps of match, lr found, learned")
    assert alone.provenance.training.startswith(f"40 steps of match, lr {rate:g}, learned")


def test_a_rate_may_diverge_in_its_trial_if_another_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, y = model_of(mlp()), targets(mlp())
    training = Training(Loss.GAUSSIAN_NLL, steps=40, batch_size=16)
    monkeypatch.setattr(member, "_RATES", (500.0, 1e-3))
    _, progress = told(model, y, training)
    assert math.isinf(progress[1].validation)
    assert progress[-1].best < progress[0].validation
    monkeypatch.setattr(member, "_RATES", (500.0, 400.0))
    with pytest.raises(Diverged, match=r"`lr` 400: the loss is"):
        told(model, y, training)


def test_a_loss_that_is_no_number_is_told_and_not_gone_on_from(tmp_path: Path) -> None:
    model, state = model_of(mlp()), tmp_path / "model.state"
    training = replace(QUICK, lr=500.0, loss=Loss.GAUSSIAN_NLL)
    state.write_bytes(b"of an earlier validation")
    begun = FineTuning(model, rows(mlp()), targets(mlp()), LOW, training)
    start = format.digest(begun.best)
    with pytest.raises(Diverged, match=r"`lr` 500: the loss is (nan|inf) at step \d+; lower"):
        begun.run(None, state)
    assert not state.exists()
    assert format.digest(begun.best) == start


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({}, 1000),  # 3 * 11 are fewer
        ({"epochs": 5}, 55),
        ({"epochs": 0.01}, 1),
        ({"steps": 7}, 7),
    ],
)
def test_the_length_is_that_of_steps_or_epochs(given: dict[str, Any], steps: int) -> None:
    assert Training(**given).steps_of(11) == steps


def test_many_rows_are_passed_over_three_times() -> None:
    assert Training().steps_of(500) == 1500
