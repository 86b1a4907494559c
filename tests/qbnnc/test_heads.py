"""Heads from the user's module to the artefact, against what torch samples of the module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import qbnnc
from qbnnc.backends.torch.training.losses import class_logits, gaussian_nll, log_variance
from qbnnc.evaluation.files import evaluate_files
from qbnnc.ir.oracle import oracle_prediction
from qbnnc.ir.outputs import Spread
from qbnnc.support.errors import UserError
from tests.commands import Runner
from tests.heads import Evidence, Heads, Normal, example, network

Returned = Callable[[Heads, Tensor], object]
Moments = Callable[[object], tuple[Tensor, Tensor]]
SAMPLES = 3000


def second(function: Callable[[Tensor], Tensor]) -> Moments:
    """Mean and variance of a pair, whose second output says the variance by `function`."""

    def moments(output: object) -> tuple[Tensor, Tensor]:
        assert isinstance(output, tuple)
        return output[0], function(output[1])

    return moments


def halves(output: object) -> tuple[Tensor, Tensor]:
    assert isinstance(output, Tensor)
    return output[:, :1], output[:, 1:].exp()


LAWS: dict[str, tuple[Returned, str | None, Moments]] = {
    "homoscedastic": (
        lambda s, h: (s.mean(h), s.log_var.expand_as(s.mean(h))), None, second(torch.exp),
    ),
    "a parameter": (lambda s, h: (s.mean(h), s.sigma), None, second(torch.square)),
    "named": (
        lambda s, h: Normal(s.mean(h), F.softplus(s.second(h))), None, second(torch.square),
    ),
    "stated": (
        lambda s, h: (s.mean(h), F.softplus(s.second(h))), "mean,variance", second(lambda v: v),
    ),
    "one tensor": (lambda s, h: s.both(h), "mean,log_var", halves),
}  # fmt: skip


@pytest.mark.few(1)
@pytest.mark.parametrize("kind", list(LAWS))
def test_the_predictive_variance_is_that_of_the_module(kind: str, tmp_path: Path) -> None:
    returned, names, moments = LAWS[kind]
    net, x = network(returned), example()
    model = qbnnc.compile(
        net, tmp_path / "net.qbnn", calibration=x.numpy(), task="regression", bits="w8a8",
        output_names=names,
    )  # fmt: skip
    found = oracle_prediction(model, x[:8].numpy(), samples=SAMPLES)
    torch.manual_seed(3)
    with torch.no_grad():
        drawn = [moments(net(x[:8])) for _ in range(SAMPLES)]
    mean = torch.stack([m for m, _ in drawn]).double()
    aleatoric = torch.stack([v.expand_as(m) for m, v in drawn]).double().mean(0).numpy()
    spread = mean.std(0).numpy()
    np.testing.assert_allclose(found["aleatoric"], aleatoric, rtol=0.05)
    np.testing.assert_allclose(found["epistemic"], spread**2, rtol=0.15)
    assert (np.abs(found["mean"] - mean.mean(0).numpy()) < 0.15 * spread).all()
    np.testing.assert_allclose(
        found["variance"], found["aleatoric"] + found["epistemic"], rtol=1e-6
    )


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("returned", "task"),
    [
        (lambda s, h: s.mean(h), "classification"),
        (lambda s, h: torch.sigmoid(s.mean(h)), "classification"),
        (lambda s, h: torch.sigmoid(s.mean(h)).squeeze(1), None),
    ],
)
def test_the_probabilities_are_those_of_the_module(
    returned: Returned, task: str | None, tmp_path: Path
) -> None:
    net, x = network(returned), example()
    model = qbnnc.compile(net, tmp_path / "net.qbnn", calibration=x.numpy(), task=task, bits="w8a8")
    found = oracle_prediction(model, x[:8].numpy(), samples=SAMPLES)
    torch.manual_seed(3)
    hidden = net.trunk(x[:8]).relu()
    with torch.no_grad():
        drawn = [net.mean(F.dropout(hidden, 0.3)).squeeze(1) for _ in range(SAMPLES)]
    p = torch.stack(drawn).double().sigmoid()
    np.testing.assert_allclose(found["probabilities"][:, 1], p.mean(0), atol=0.01)
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, atol=1e-6)
    both = torch.stack([1 - p, p], 2)
    entropy = torch.special.entr(both.mean(0)).sum(1)
    np.testing.assert_allclose(found["entropy"], entropy, atol=0.01)
    information = entropy - torch.special.entr(both).sum(2).mean(0)
    np.testing.assert_allclose(found["mutual_information"], information, rtol=0.2)


@pytest.mark.slow
def test_evidence_is_raw_and_keeps_its_names(qbnnc_command: Runner) -> None:
    net = network(
        lambda s, h: Evidence(s.mean(h), s.second(h).exp(), F.softplus(s.mean(h)), s.second(h))
    )
    x = example()
    np.save("x.npy", x[:9].numpy())
    qbnnc.save(net, "net.pt", (x[:2],), calibration=x)
    compiled = qbnnc_command("compile", "net.pt", "-o", "net.qbnn", "-o", "net.onnx")
    assert "outputs samples_gamma [1], samples_nu [1]" in compiled.words
    for artefact in ("net.qbnn", "net.onnx"):
        ran = qbnnc_command("run", artefact, "--input", "x.npy", "-o", "p.npz")
        assert max(map(len, ran.out.splitlines())) <= 80
        with np.load("p.npz") as archive:
            assert {f"samples_{n}" for n in Evidence._fields} <= set(archive)
            assert archive["mean_beta"].shape == (9, 1)
    found = qbnnc_command("verify", "net.qbnn", "net.onnx", "--input", "x.npy")
    assert found.code == 0


@pytest.mark.slow
def test_what_was_understood_is_printed(qbnnc_command: Runner) -> None:
    x = example()
    net = network(lambda s, h: (s.mean(h), F.softplus(s.second(h)), s.learnt.sum()))
    qbnnc.save(net, "net.pt", (x[:2],), calibration=x)
    said = qbnnc_command.refused("compile", "net.pt", "-o", "a.qbnn", "--task", "regression")
    assert "--outputs mean,log_var|variance|std" in said
    arguments = ("-o", "a.qbnn", "--task", "regression", "--outputs", "mean,variance")
    compiled = qbnnc_command("compile", "net.pt", *arguments)
    assert "samples [1] (mean), samples_variance [1] (variance)" in compiled.words
    assert "aleatoric = mean of variance" in compiled.words
    assert "left out output 2, []: the same for every input" in compiled.words
    inspected = qbnnc_command("inspect", "a.qbnn")
    assert "samples_variance [1] (variance); aleatoric = mean of variance" in inspected.words
    assert "left out: output 2, []" in inspected.words
    assert '"meaning": "variance"' in qbnnc_command("inspect", "a.qbnn", "--json").out


@pytest.mark.slow
def test_one_tensor_of_two_numbers_is_asked_for(qbnnc_command: Runner) -> None:
    x = example()
    qbnnc.save(network(lambda s, h: s.both(h)), "net.pt", (x[:2],), calibration=x)
    said = qbnnc_command.refused("compile", "net.pt", "-o", "a.qbnn", "--task", "regression")
    assert "say --outputs mean, or --outputs mean,log_var|variance|std" in said
    for names, printed in (("mean", "samples [2] (mean)"), ("mean,log_var", "samples_log_var [1]")):
        arguments = ("-o", "a.qbnn", "--task", "regression", "--outputs", names)
        assert printed in qbnnc_command("compile", "net.pt", *arguments).words
    qbnnc_command("compile", "net.pt", "-o", "raw.qbnn")
    arguments = ("-o", "b.qbnn", "--task", "regression", "--outputs", "mean,log_var")
    assert "compile the trained model" in qbnnc_command.refused("compile", "raw.qbnn", *arguments)


@pytest.mark.slow
def test_names_travel_with_what_is_saved(tmp_path: Path) -> None:
    net, x = network(lambda s, h: (s.mean(h), s.second(h).exp())), example()
    for name in ("a.pt", "a.qbnn"):
        path = tmp_path / name
        qbnnc.save(net, path, (x[:2],), calibration=x, output_names="mean,std")
        model = qbnnc.compile(path, tmp_path / "out.qbnn", task="regression")
        assert model.head.outputs == ("mean", "std")
    with pytest.raises(UserError, match="a name of its own"):
        qbnnc.save(net, tmp_path / "b.pt", (x[:2],), output_names="mean,")


@pytest.mark.few(0)
def test_scores_have_the_right_variance(tmp_path: Path) -> None:
    """A constant standard deviation of 0.25 and no dropout left: the NLL is a formula."""
    net = network(lambda s, h: (s.mean(h) * 0, s.sigma.expand_as(s.mean(h))))
    x = example().numpy()
    y = np.random.default_rng(0).normal(size=(len(x), 1)).astype(np.float32)
    expected = float((y**2 / (2 * 0.25**2) + np.log(0.25) + np.log(2 * np.pi) / 2).mean())
    path = tmp_path / "net.qbnn"
    qbnnc.compile(net, path, calibration=x, task="regression", bits="w8a8")
    for found in evaluate_files([path, net], (x, y), task="regression"):
        assert found.scores.measures["nll"].mean == pytest.approx(expected, rel=1e-5)
        assert found.scores.measures["aleatoric_std"].mean == pytest.approx(0.25, rel=1e-6)


@pytest.mark.slow
def test_binary_scores_are_those_of_probabilities(tmp_path: Path) -> None:
    net = network(lambda s, h: torch.sigmoid(s.mean(h)).squeeze(1))
    x = example().numpy()
    y = (x[:, 0] > 0).astype(np.int64)
    path = tmp_path / "net.qbnn"
    model = qbnnc.compile(net, path, calibration=x, bits="w8a8")
    p = oracle_prediction(model, x, samples=20)["probabilities"].astype(np.float64)
    compiled, _ = evaluate_files([path, net], (x, y))
    expected = float(-np.log(p[np.arange(len(y)), y]).mean())
    assert compiled.scores.measures["nll"].mean == pytest.approx(expected, rel=1e-5)
    assert compiled.scores.measures["error"].mean == float((p.argmax(1) != y).mean())


@pytest.mark.parametrize(
    ("spread", "of_variance"),
    [
        (Spread.LOG_VARIANCE, torch.log),
        (Spread.VARIANCE, lambda v: v),
        (Spread.STD, torch.sqrt),
        (Spread.LOG_STD, lambda v: torch.log(v) / 2),
    ],
)
def test_the_loss_reads_the_second_output(
    spread: Spread, of_variance: Callable[[Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    mean, target, variance = torch.randn(9, 2), torch.randn(9, 2), torch.rand(9, 2) + 0.1
    found = gaussian_nll(mean, log_variance(of_variance(variance), spread), target)
    assert float(found) == pytest.approx(float(F.gaussian_nll_loss(mean, target, variance)), 1e-5)


@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 1, 2, 3)])
def test_cross_entropy_of_one_logit_is_binary(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    logits = torch.randn(shape) * 3
    labels = torch.randint(0, 2, (9, *shape[2:]))
    expected = F.binary_cross_entropy_with_logits(logits, labels.reshape(shape).float())
    assert float(F.cross_entropy(class_logits(logits), labels)) == pytest.approx(
        float(expected), rel=1e-5
    )
