"""`qbnnc compile --bits auto`: the choice as a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qbnnc.evaluation.files import evaluate_files
from qbnnc.ir import format
from qbnnc.study.sensitivity import choose_bits
from qbnnc.study.terminal import choice_lines
from tests.commands import Runner, with_options
from tests.study.sweeps import classifier, labelled

AUTO = ("compile", "net.qbnn", "--bits", "auto", "--task", "classification", "--samples", 4)


@pytest.fixture
def net(qbnnc_command: Runner) -> Runner:
    """`qbnnc` beside net.qbnn, calib.npy and data.npz."""
    format.save(classifier(), "net.qbnn")
    (x, y), (calib, _) = labelled(200, 1), labelled(120)
    np.savez("data.npz", x=x, y=y)
    np.save("calib.npy", calib)
    return qbnnc_command


def test_the_command_prints_and_compiles_the_choice(net: Runner) -> None:
    asked = ("--budget", "error+3", "--data", "data.npz", "--calib", "calib.npy")
    result = net(*AUTO, *asked, "-o", "c.qbnn", "-o", "c.onnx")
    assert result.code == 0, result.err
    assert result.out.startswith("budget error+3: error ")
    compiled = format.load("c.qbnn")
    with np.load("data.npz") as data:
        choice = choose_bits(
            classifier(), (data["x"], data["y"]), "error+3", calibration=np.load("calib.npy"),
            task="classification", samples=4,
        )  # fmt: skip
        assert all(line in result.out for line in choice_lines(choice))
        (found,) = evaluate_files("c.qbnn", "data.npz", seeds=(0, 1, 2))
    assert found.scores.measures["error"].mean == choice.result["error"] <= choice.limit
    assert compiled.provenance.bits == found.bits != "w8a7"


def test_few_rows_to_choose_by_are_a_warning(net: Runner) -> None:
    x, y = labelled(60)
    np.savez("few.npz", x=x, y=y)
    asked = ("--budget", "error+100", "--data", "few.npz", "--calib", "calib.npy", "-o", "c.qbnn")
    result = net(*AUTO, *asked)
    assert result.code == 0
    assert result.err.startswith("Warning: 60 rows to choose bits by are few")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--bits auto: give --budget, such as nll+1%"),
        (("--budget", "nll+1%"), "--bits auto: give --data FILE.npz[:X,Y]"),
        (("--budget", "nll", "--data", "data.npz"), "--budget nll: write METRIC+X%"),
        (("--budget", "nll+1%", "--data", "none.npz"), "none.npz: cannot be read"),
        (("--budget", "rmse+1%", "--data", "data.npz"), "--budget rmse+1%: this task has no rmse"),
        (("--bits", "w8a7", "--budget", "nll+1%"), "--budget: is for --bits auto"),
        (("--bits", "w8a7", "--data", "data.npz"), "--data: is for --bits auto"),
        (("--budget", "nll+1%", "--data", "data.npz", "-o", "no/c.qbnn"), "no/c.qbnn: "),
    ],
)
def test_wrong_options(net: Runner, options: tuple[str, ...], message: str) -> None:
    usual = (*AUTO, "--calib", "calib.npy", "-o", "c.qbnn")
    assert message in net.refused(*with_options(usual, *options))


def test_a_compiled_network_has_its_bits(net: Runner, artefacts: Path) -> None:
    asked = ("--budget", "nll+1%", "--data", "data.npz", "-o", "c.qbnn", "--bits", "auto")
    said = net.refused("compile", artefacts / "lenet.qbnn", *asked)
    assert said.startswith(f"{artefacts / 'lenet.qbnn'}: quantised already (w8a7,input=a8)")
