"""Fine-tuning: what is kept, what is refused, and going on after an interruption."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from qbnnc.backends.torch.quantizers import is_power_of_two
from qbnnc.backends.torch.training import (
    Diverged,
    FineTuning,
    Loss,
    Progress,
    Training,
    finetune,
    member,
)
from qbnnc.backends.torch.training.losses import (
    compared_head,
    divergence,
    epistemic_deviation,
    gaussian_nll,
    normal_divergence,
    predictive,
)
from qbnnc.ir import format
from qbnnc.ir.graph import Graph, rewrite
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Softmax
from qbnnc.ir.types import Stage
from qbnnc.passes.options import Bits, MaskSharing, Quantisation, Scales
from qbnnc.passes.pipeline import Options, lower_model
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.support.errors import FileError, InputError, UserError
from tests.examples import slow_but
from tests.graphs import bayesian_mlp, inputs, mlp
from tests.net import Net

QUICK = Training(epochs=6, lr=5e-3, batch_size=16)
LOW = Options(Quantisation(Bits(3, 3)), calibration=Calibration(passes=2))


def model_of(*graphs: Graph, task: Task = Task.RAW) -> Model:
    return Model(graphs, Head(task), calibration=inputs(graphs[0], 64))


def rows(graph: Graph, count: int = 160) -> NDArray[np.float32]:
    return inputs(graph, count, seed=5)


def targets(graph: Graph, count: int = 160) -> NDArray[np.float32]:
    means: NDArray[np.float32] = rows(graph, count).mean(axis=1, keepdims=True)
    return 2 * means


def told(
    model: Model, y: NDArray[np.float32] | None, training: Training, options: Options = LOW
) -> tuple[Model, list[Progress]]:
    progress: list[Progress] = []
    x = rows(model.graph)
    tuned = finetune(model, x, y, options, training, tell=progress.append)
    return tuned, progress


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


def test_members_are_tuned_each_on_its_own() -> None:
    pair, alike = model_of(mlp(0), mlp(1)), replace(LOW.quantisation, member_bits=3)
    options = replace(LOW, quantisation=alike)
    tuned, progress = told(pair, None, replace(QUICK, epochs=2), options)
    assert {(p.member, p.members) for p in progress} == {(0, 2), (1, 2)}
    alone, _ = told(model_of(mlp(0)), None, replace(QUICK, epochs=2))
    assert str(tuned.members[0]) == str(alone.graph)


def test_a_task_is_implied_by_the_loss() -> None:
    training = replace(QUICK, epochs=0.1, loss=Loss.GAUSSIAN_NLL)
    tuned, _ = told(model_of(mlp()), targets(mlp()), training)
    assert tuned.head.task is Task.REGRESSION


class Stop:
    """Interrupts at the n-th report."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, progress: Progress) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", slow_but([3, 8], [1, 3, 6, 8, 12]))
@pytest.mark.parametrize("learn_ranges", slow_but([True], [True, False]))
def test_an_interrupted_fine_tuning_goes_on_to_the_same_model(
    after: int, learn_ranges: bool, tmp_path: Path
) -> None:
    """In the start, a trial of a rate, or the run of one member or the other."""
    model = model_of(mlp(0), mlp(1))
    training = Training(steps=12, batch_size=16, learn_ranges=learn_ranges)
    x, state = rows(mlp()), tmp_path / "state"
    whole = finetune(model, x, None, LOW, training)
    begun = FineTuning(model, x, None, LOW, training)
    with pytest.raises(KeyboardInterrupt):
        begun.run(Stop(after), state)
    begun.best.check()  # there is a best at any time
    resumed = FineTuning(model, x, None, LOW, training)
    if state.exists():
        resumed.resume(state)
    resumed.run(None, state)
    assert format.digest(resumed.best) == format.digest(whole)
    assert not state.exists()


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    model, x, state = model_of(mlp()), rows(mlp()), tmp_path / "model.state"
    begun = FineTuning(model, x, None, LOW, QUICK)
    with pytest.raises(KeyboardInterrupt):
        begun.run(Stop(3), state)
    other = FineTuning(model, x, None, LOW, replace(QUICK, lr=1e-3))
    with pytest.raises(FileError, match=r"model\.state: belongs to a fine-tuning of another"):
        other.resume(state)
    state.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(FileError, match=r"model\.state: no state of an interrupted"):
        other.resume(state)


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


def test_a_loss_that_does_not_fit_is_refused() -> None:
    for loss, message in (
        (Loss.CROSS_ENTROPY, "`loss` cross-entropy: needs one output"),
        (Loss.MSE, "`loss` mse: trains one output, and the network has 2: .* use gaussian-nll"),
    ):
        with pytest.raises(UserError, match=message):
            told(model_of(mlp()), targets(mlp()), replace(QUICK, loss=loss))


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


def test_divergence_is_that_of_the_definition() -> None:
    ours, theirs = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    p, q = torch.softmax(theirs, 1), torch.softmax(ours, 1)
    torch.testing.assert_close(divergence(ours, theirs), (p * (p / q).log()).sum(1).mean())


def test_normal_divergence_is_that_of_pytorch() -> None:
    mean, log_variance, their_mean, theirs = torch.randn(4, 7, 1, dtype=torch.float64)
    normal = [
        torch.distributions.Normal(m, (0.5 * v).exp())
        for m, v in ((their_mean, theirs), (mean, log_variance))
    ]
    torch.testing.assert_close(
        normal_divergence(mean, log_variance, their_mean, theirs),
        torch.distributions.kl_divergence(*normal).mean(),
    )


def test_samples_predict_a_mixture_together() -> None:
    log_p = torch.log_softmax(torch.randn(6, 5, 4, dtype=torch.float64), 2)
    (mixed,) = predictive(Head(Task.CLASSIFICATION), [[sample] for sample in log_p])
    torch.testing.assert_close(mixed.exp(), log_p.exp().mean(0))
    mean, log_variance = torch.randn(2, 6, 5, 1, dtype=torch.float64)
    pairs = [list(pair) for pair in zip(mean, log_variance, strict=True)]
    together, spread = predictive(Head(Task.REGRESSION), pairs)
    second = (mean**2 + log_variance.exp()).mean(0)  # E[y^2] of the mixture
    torch.testing.assert_close(together, mean.mean(0))
    torch.testing.assert_close(spread.exp(), second - mean.mean(0) ** 2)


def test_the_epistemic_deviation_is_mutual_information_or_a_standard_deviation() -> None:
    p = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]], dtype=torch.float64)  # 2 samples of a row
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    found = epistemic_deviation(Head(Task.CLASSIFICATION), [[sample.log()] for sample in p])
    assert float(found) == pytest.approx(math.sqrt(math.log(2) - entropy))
    means = [[torch.tensor([[1.0]])], [torch.tensor([[5.0]])]]
    assert float(epistemic_deviation(Head(Task.REGRESSION), means)) == 2.0


@pytest.mark.parametrize(
    ("first", "second", "task"),
    [("mu", "log_var", Task.REGRESSION), ("log_var", "mu", Task.RAW), ("a", "b", Task.RAW)],
)
def test_match_takes_two_outputs_for_a_normal_distribution_if_their_names_say_so(
    first: str, second: str, task: Task
) -> None:
    net = Net((6,)).linear(8, "fc").relu("relu")
    hidden = net.value
    one = net.linear(1, first).value
    net.value = hidden
    graph = net.graph(one, net.linear(1, second).value)
    assert compared_head(model_of(graph)).task is task


def test_gaussian_nll_is_that_of_pytorch() -> None:
    mean, log_variance, target = torch.randn(3, 7, 1, dtype=torch.float64)
    theirs = torch.nn.functional.gaussian_nll_loss(mean, target, log_variance.exp())
    torch.testing.assert_close(gaussian_nll(mean, log_variance, target), theirs)


@pytest.mark.parametrize("sharing", list(MaskSharing))
@pytest.mark.parametrize("softmax", [True, False])
def test_the_teacher_has_the_outputs_and_masks_of_its_simulation(
    sharing: MaskSharing, softmax: bool
) -> None:
    """At 8 bits hardly anything separates them."""
    net = Net((6,)).linear(8, "fc").relu("relu").dropout(0.3, "drop").linear(4, "out")
    graph = (net.emit(Softmax(0, False), name="softmax") if softmax else net).graph()
    options = Options(Quantisation(Bits(8, 8), mask_sharing=sharing))
    _, progress = told(model_of(graph), None, replace(QUICK, epochs=0.1), options)
    assert progress[0].validation < 0.02


def test_powers_of_two_stay_powers_of_two() -> None:
    options = replace(LOW, quantisation=Quantisation(Bits(4, 4), scales=Scales.POW2))
    tuned, _ = told(model_of(mlp()), None, replace(QUICK, lr=0.02), options)
    activations = [n.output.type.quant for n in tuned.graph.nodes if n.output.type.quant]
    shared = [q for q in activations if q.axis is None]
    assert shared
    assert all(is_power_of_two(q) for q in shared)
