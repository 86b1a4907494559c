"""Fine-tuning: what is kept, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qbnnc.backends.torch.quantizers import is_power_of_two
from qbnnc.backends.torch.training import (
    FineTuning,
    Loss,
    Training,
    finetune,
)
from qbnnc.ir import format
from qbnnc.ir.graph import Graph, rewrite
from qbnnc.ir.types import Stage
from qbnnc.passes.options import Bits, Quantisation, Scales
from qbnnc.passes.pipeline import lower_model
from qbnnc.support.errors import InputError, UserError
from tests.backends.training import LOW, QUICK, model_of, rows, targets, told
from tests.examples import slow_but
from tests.graphs import bayesian_mlp, mlp


@pytest.mark.few(1)
@pytest.mark.parametrize("graph", [mlp(), bayesian_mlp()], ids=["dropout", "sampled weights"])
@pytest.mark.parametrize("loss", [Loss.MATCH, Loss.MSE, Loss.GAUSSIAN_NLL])
@pytest.mark.parametrize("learn_ranges", slow_but([True], [True, False]))
def test_the_validation_loss_falls_and_the_best_is_kept(
    graph: Graph, loss: Loss, learn_ranges: bool
) -> None:
    if loss is Loss.MSE:
        graph = rewrite(replace(graph, outputs=graph.outputs[:1]), lambda node, build: None)
    training = replace(QUICK, loss=loss, learn_ranges=learn_ranges)
    tuned, progress = told(model_of(graph), targets(graph), training)
    assert tuned.stage is Stage.SIMULATED
    assert lower_model(tuned).stage is Stage.INTEGER
    assert progress[0].step == 0
    assert progress[-1].step == progress[-1].steps
    assert progress[-1].best == min(p.validation for p in progress) < progress[0].validation
    assert f"{training.epochs:g} epochs of {loss.value}" in tuned.provenance.training


def test_a_fine_tuning_that_only_does_harm_keeps_what_it_began_with() -> None:
    model = model_of(mlp())
    harmful = replace(QUICK, lr=0.9)
    tuned, progress = told(model, None, harmful)
    assert progress[-1].best == progress[0].validation
    assert min(p.validation for p in progress[1:]) > progress[0].validation
    untouched = FineTuning(model, rows(mlp()), None, LOW, harmful).best
    assert format.digest(tuned) == format.digest(untouched)


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    model = model_of(mlp())
    first, again, other = (
        format.digest(told(model, None, replace(QUICK, epochs=2, seed=seed))[0])
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


def test_members_are_tuned_each_on_its_own() -> None:
    tuned, progress = told(model_of(mlp(0), mlp(1)), None, replace(QUICK, epochs=2))
    assert {(p.member, p.members) for p in progress} == {(0, 2), (1, 2)}
    alone, _ = told(model_of(mlp(0)), None, replace(QUICK, epochs=2))
    assert str(tuned.members[0]) == str(alone.graph)


def test_powers_of_two_stay_powers_of_two() -> None:
    options = replace(LOW, quantisation=Quantisation(Bits(4, 4), scales=Scales.POW2))
    tuned, _ = told(model_of(mlp()), None, replace(QUICK, lr=0.02), options)
    activations = [n.output.type.quant for n in tuned.graph.nodes if n.output.type.quant]
    shared = [q for q in activations if q.axis is None]
    assert shared
    assert all(is_power_of_two(q) for q in shared)


def test_data_that_does_not_fit_is_refused() -> None:
    model = model_of(mlp())
    for x, y, loss, message in (
        (rows(mlp(), 1), None, Loss.MATCH, "the training data: 1 row; fine-tuning needs 2"),
        (rows(mlp(), 0), None, Loss.MATCH, "the training data: 0 rows"),
        (rows(mlp())[:, :3], None, Loss.MATCH, "the training data: the shape is"),
        (np.full_like(rows(mlp()), np.nan), None, Loss.MATCH, "the training data: NaN in row 0"),
        (rows(mlp()), None, Loss.GAUSSIAN_NLL, "`loss` gaussian-nll: the data has no labels"),
    ):
        with pytest.raises(InputError, match=message):
            finetune(model, x, y, LOW, replace(QUICK, loss=loss))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": 0.0}, "`lr`: must be above 0, and below 1000"),
        ({"lr": 1e4}, "`lr`: must be above 0, and below 1000"),
        ({"lr": "fast"}, "`lr` 'fast': give a finite number"),
        ({"lr": float("nan")}, "`lr` nan: give a finite number"),
        ({"epochs": -1.0}, "`epochs`: must be above 0"),
        ({"epochs": "3"}, "`epochs` '3': give a finite number"),
        ({"epochs": 6, "steps": 9}, "`steps`: says the same as `epochs`; give one of the two"),
        ({"epochs": None, "steps": 0}, "`steps` 0: give 1 or more"),
        ({"held_out": 1}, "`held_out`: must be between 0 and 1"),
        ({"moving": 1.5}, "`moving`: must be from 0 to 1"),
        ({"batch_size": 0}, "`batch_size` 0: give 1 or more"),
        ({"batch_size": 8.0}, "`batch_size`: 8.0 is not a whole number"),
        ({"seed": -1}, "`seed` -1: give 0 or more"),
        ({"validation_samples": 0}, "`validation_samples` 0: give 1 or more"),
        ({"loss": "guess"}, "`loss` 'guess': choose one of match, cross-entropy, mse"),
        ({"loss": ["mse"]}, "`loss`"),
    ],
)
def test_training_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        replace(QUICK, **wrong)


def test_training_has_one_form_whatever_it_is_given_as() -> None:
    arguments: dict[str, Any] = {"loss": "mse", "epochs": np.float32(2), "batch_size": np.int64(8)}
    given = Training(**arguments, lr=1, moving=1)
    assert repr(given) == repr(Training(Loss.MSE, 2.0, 1.0, 8, moving=1.0))
