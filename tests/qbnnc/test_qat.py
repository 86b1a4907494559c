"""Quantisation-aware training by the user's own loop, and by the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import qbnnc
from qbnnc.backends.torch import Simulation
from qbnnc.ir import format
from qbnnc.ir.model import Model
from qbnnc.ir.types import Stage
from qbnnc.runtime import load
from qbnnc.support.errors import FileError, InputError, UserError
from tests.examples import slow_but
from tests.study.sweeps import classifier, labelled
from tools.models import MLP, MLP_MCD, LeNet_MCD

Arrays = dict[str, NDArray[np.float32]]


def tuned(module: MLP_MCD, data: Arrays, **options: Any) -> Simulation:
    """A user's loop: any optimiser, any loss."""
    qat = qbnnc.prepare_qat(module, data["x_train"], bits="w3a3", **options)
    x, y = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"])
    optimiser = torch.optim.Adam(qat.parameters(), 3e-3)
    qat.train()
    for step in range(60):
        if step == 40:
            qat.freeze_ranges()
        mean, log_variance = qat(x)
        loss = torch.nn.functional.gaussian_nll_loss(mean, y, log_variance.exp())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return qat.eval()


def nll(model: Model, data: Arrays) -> float:
    (evaluation,) = qbnnc.evaluate(
        [model],
        (data["x_train"], data["y_train"]),
        task="regression",
        samples=20,
    )
    return evaluation.scores.measures["nll"].mean


@pytest.mark.parametrize("ranges", slow_but(["learned"], ["ema", "learned"]))
def test_a_loop_of_ones_own_ends_in_artefacts(
    ranges: str, mlp_mcd: MLP_MCD, diabetes: Arrays, tmp_path: Path
) -> None:
    before = [p.detach().clone() for p in mlp_mcd.parameters()]
    qat = tuned(mlp_mcd, diabetes, ranges=ranges)
    assert all(torch.equal(a, b) for a, b in zip(before, mlp_mcd.parameters(), strict=True))
    path, saved = tmp_path / "net.qbnn", tmp_path / "saved.qbnn"
    compiled = qbnnc.compile(qat, [path, tmp_path / "net.onnx"], task="regression")
    assert compiled.stage is Stage.INTEGER
    untuned = qbnnc.compile(
        mlp_mcd,
        tmp_path / "untuned.qbnn",
        calibration=diabetes["x_train"],
        bits="w3a3",
        task="regression",
    )
    assert nll(compiled, diabetes) < nll(untuned, diabetes)
    qbnnc.save(qat, saved)
    assert format.load(saved).stage is Stage.SIMULATED
    again = qbnnc.compile(saved, tmp_path / "again.qbnn", task="regression")
    assert format.digest(again) == format.digest(compiled)
    assert load(path).predict(diabetes["x_test"]).mean.shape == (90, 1)


@pytest.mark.few(0)
def test_the_module_gives_what_the_users_module_gives(
    lenet_mcd: LeNet_MCD, mlp_mcd: MLP_MCD
) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 1, 28, 28)).astype(np.float32)
    logits = qbnnc.prepare_qat(lenet_mcd, torch.from_numpy(images))(torch.from_numpy(images[:5]))
    assert logits.shape == (5, 10)
    rows = rng.normal(size=(100, 10)).astype(np.float32)
    mean, log_variance = qbnnc.prepare_qat(mlp_mcd, rows)(torch.from_numpy(rows[:7]))
    assert mean.shape == log_variance.shape == (7, 1)


def test_at_many_bits_it_is_close_to_the_float_network(mlp: MLP, diabetes: Arrays) -> None:
    x = torch.from_numpy(diabetes["x_test"])
    qat = qbnnc.prepare_qat(mlp, diabetes["x_train"], bits="w8a8").eval()
    with torch.no_grad():
        for ours, theirs in zip(qat(x), mlp(x), strict=True):
            torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0.05)


@pytest.mark.few(0)
def test_members_that_were_prepared_one_by_one_are_an_ensemble(
    mlp: MLP, diabetes: Arrays, tmp_path: Path
) -> None:
    members = []
    for _ in range(3):
        with torch.no_grad():
            for parameter in mlp.parameters():
                parameter.mul_(1.01)
        members.append(qbnnc.prepare_qat(mlp, diabetes["x_train"]))
    compiled = qbnnc.compile(members, tmp_path / "net.qbnn", task="regression")
    assert compiled.method == "ensemble of 3"
    qbnnc.save(members, tmp_path / "saved.qbnn")
    assert len(format.load(tmp_path / "saved.qbnn").members) == 3
    with pytest.raises(InputError, match="a list that holds more"):
        qbnnc.save([*members, mlp], tmp_path / "mixed.qbnn")


def test_the_members_of_an_ensemble_are_prepared_by_number(tmp_path: Path) -> None:
    trio, (x, _) = classifier(members=3), labelled(120)
    with pytest.raises(InputError, match=r"^`member`: the network is an ensemble of 3"):
        qbnnc.prepare_qat(trio, x)
    with pytest.raises(UserError, match=r"^`member` 3: give 2 or less"):
        qbnnc.prepare_qat(trio, x, member=3)
    members = [qbnnc.prepare_qat(trio, x, member=number) for number in range(3)]
    compiled = qbnnc.compile(members, tmp_path / "net.qbnn", task="classification")
    whole = qbnnc.compile(trio, tmp_path / "whole.qbnn", calibration=x, task="classification")
    assert compiled.method == whole.method
    for ours, theirs in zip(compiled.members, whole.members, strict=True):
        assert str(ours) == str(theirs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (([[0.0] * 6] * 9, [0] * 9, 5), "the training data: give a file, or two arrays (x, y);"),
        (([[0.0] * 6] * 9,), "the training data: give a file, or two arrays (x, y);"),
        ([[0.0] * 6, [0.0] * 5], "the training data: not an array of numbers"),
        (([[0.0] * 6, [0.0] * 5], [0, 1]), "the training data, x: not an array of numbers"),
        (None, "the training data: the element type is object"),
        (3.0, "the training data: the shape is []"),
    ],
)
def test_data_that_are_no_data_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        qbnnc.finetune(classifier(), wrong)
    if message.endswith("(x, y);"):
        with pytest.raises(InputError, match=r"^the data: give a file, or two arrays \(x, y\);"):
            qbnnc.evaluate(classifier(), wrong, task="classification")


def test_what_prepare_qat_refuses(mlp: MLP, diabetes: Arrays, tmp_path: Path) -> None:
    qat = qbnnc.prepare_qat(mlp, diabetes["x_train"])
    with pytest.raises(InputError, match="a module is compiled with calibration"):
        qbnnc.prepare_qat(mlp)
    with pytest.raises(UserError, match="`bits` w9a9"):
        qbnnc.prepare_qat(mlp, diabetes["x_train"], bits="w9a9")
    decays: tuple[Any, ...] = (0.0, 2, "x")
    for decay, said in zip(decays, ("0: must be", "2: must be", "'x': "), strict=True):
        with pytest.raises(UserError, match=f"^`decay` {said}"):
            qbnnc.prepare_qat(mlp, diabetes["x_train"], decay=decay)
    with pytest.raises(UserError, match="the source: fine-tuned already"):
        qbnnc.prepare_qat(qat.model())
    with pytest.raises(UserError, match=r"the source: fine-tuned already, .* leave `bits` out"):
        qbnnc.compile(qat, tmp_path / "net.qbnn", bits="w4a4")
    with pytest.raises(FileError, match=r"saved as \.qbnn"):
        qbnnc.save(qat, tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())
