"""Options, limits and closing lines of commands, as their users meet them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import qbnnc
from qbnnc.cli.compile import in_short
from tests.commands import Runner

X = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32)


@pytest.fixture
def made(qbnnc_command: Runner) -> Runner:
    """In a folder with net.pt (its outputs named when saved), net.qbnn of it, and data.npz."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
    example = (torch.from_numpy(X[:2]),)
    qbnnc.save(net, "net.pt", example, calibration=X, output_names="mean,log_var")
    qbnnc.compile("net.pt", "net.qbnn", task="regression")
    np.savez("data.npz", x=X, y=X[:, :1])
    return qbnnc_command


@pytest.mark.parametrize(("options", "flag"), [
    (("--bits", "w8a7", "--bits", "w4a4"), "--bits"),
    (("--blob", "--no-blob"), "--blob/--no-blob"),
])  # fmt: skip
def test_one_value_is_given_once(
    qbnnc_command: Runner, options: tuple[str, ...], flag: str
) -> None:
    said = qbnnc_command.refused("compile", "lenet_mcd.pt", "-o", "a.c", *options)
    assert said == f"{flag}: is given twice, and takes one value; leave one out"


def test_close_options_are_suggested(qbnnc_command: Runner) -> None:
    said = qbnnc_command("compile", "a.pt", "--bitz", "w8a7", "-o", "a.qbnn")
    assert said.code == 2
    assert "No such option '--bitz'. Did you mean '--bits'?" in said.err


@pytest.mark.parametrize(("limit", "said"), [
    ("--max rmsee=3", "--max rmsee=3: is not measured here; did you mean rmse? there are rmse, "
     "nll, epistemic_std, aleatoric_std, aurc, coverage"),
    ("--min rank=.9", "--min rank=0.9: compares with a float network; name one with --compare"),
    ("--min ood_auroc=.9", "--min ood_auroc=0.9: is of other inputs; give them with --ood"),
])  # fmt: skip
def test_limits_are_checked_before_the_work(
    made: Runner, limit: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*args: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr("qbnnc.evaluation.score.evaluate", worked)
    assert made.refused("evaluate", "net.qbnn", "--data", "data.npz", *limit.split()) == said


def test_quiet_prints_nothing(made: Runner) -> None:
    done = made("evaluate", "net.qbnn", "--data", "data.npz", "-q", "--max", "aleatoric_std=99")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_saved_names_that_split_an_output(made: Runner) -> None:
    limits = ("--max-deviation-ratio", 1.3, "--max-mean-shift", 0.5)
    asked = ("verify", "net.qbnn", "--source", "net.pt", "--input", "data.npz:x")
    done = made(*asked, "--samples", 200, *limits)
    assert done.code == 0, done.out + done.err
    assert "samples_log_var" in done.out


def test_weights_show_the_line_to_write(made: Runner) -> None:
    torch.save(nn.Linear(4, 2).state_dict(), "weights.pt")
    said = made.refused("verify", "net.qbnn", "--source", "weights.pt", "--input", "data.npz:x")
    assert said.endswith(
        "qbnnc verify net.qbnn --input data.npz:x --source weights.pt "
        "--model PKG.MODULE:FACTORY --model-args KEY=VALUE --dropout active"
    )


def test_closing_lines_are_short_unless_verbose(made: Runner) -> None:
    compiled = ("compile", "net.pt", "--task", "regression", "-o", "b.qbnn", "-o", "b.c")
    short = made(*compiled).out
    assert "  checked     when saved: equal to the module; equal to the saved program\n" in short
    assert "of text; qbnnc inspect b.c shows flash and RAM" in short
    assert "false alarms 1e-4" in made(*compiled, "-v").words


def test_what_was_not_checked_is_told_whole() -> None:
    text = "not compared with the module (--no-distribution-check)"
    assert in_short(text) == text


def test_python_m_and_versions() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "qbnnc", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("qbnnc, version ")
    assert f"numpy {np.__version__}" in ran.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_what_is_printed_is_no_bug_of_ours() -> None:
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "qbnnc", "--version"], stdout=full, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
    assert ran.returncode == 2
    assert ran.stderr == (
        "Error: stdout: cannot be written (no space left on device); "
        "make room, or print elsewhere\n"
    )


def test_no_command_is_help(qbnnc_command: Runner) -> None:
    shown = qbnnc_command()
    assert shown.code == 2
    assert "Usage: qbnnc" in shown.out + shown.err


def test_golden_vectors_tell_their_seed(made: Runner) -> None:
    shown = made("golden", "net.qbnn", "--input", "data.npz:x", "-o", "g.npz")
    assert shown.out == "wrote g.npz: 120 rows x 20 samples, seed 0\n"
    assert Path("g.npz").exists()
