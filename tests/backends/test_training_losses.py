"""The losses of fine-tuning are those of PyTorch or of their definition, and fit the network."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from qbnnc.backends.torch.training import (
    Loss,
)
from qbnnc.backends.torch.training.losses import (
    compared_head,
    divergence,
    epistemic_deviation,
    gaussian_nll,
    normal_divergence,
    predictive,
)
from qbnnc.ir.head import Head, Task
from qbnnc.ir.ops import Softmax
from qbnnc.passes.options import Bits, MaskSharing, Quantisation
from qbnnc.passes.pipeline import Options
from qbnnc.support.errors import UserError
from tests.backends.training import QUICK, model_of, targets, told
from tests.graphs import mlp
from tests.net import Net


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


def test_gaussian_nll_is_that_of_pytorch() -> None:
    mean, log_variance, target = torch.randn(3, 7, 1, dtype=torch.float64)
    theirs = torch.nn.functional.gaussian_nll_loss(mean, target, log_variance.exp())
    torch.testing.assert_close(gaussian_nll(mean, log_variance, target), theirs)


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


def test_a_task_is_implied_by_the_loss() -> None:
    training = replace(QUICK, epochs=0.1, loss=Loss.GAUSSIAN_NLL)
    tuned, _ = told(model_of(mlp()), targets(mlp()), training)
    assert tuned.head.task is Task.REGRESSION


def test_a_loss_that_does_not_fit_is_refused() -> None:
    for loss, message in (
        (Loss.CROSS_ENTROPY, "`loss` cross-entropy: needs one output"),
        (Loss.MSE, "`loss` mse: trains one output, and the network has 2: .* use gaussian-nll"),
    ):
        with pytest.raises(UserError, match=message):
            told(model_of(mlp()), targets(mlp()), replace(QUICK, loss=loss))
