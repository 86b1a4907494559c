"""qbnnc finetune, from a file of weights to artefacts, and what stops it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qbnnc.ir import format
from qbnnc.ir.head import Task
from qbnnc.ir.types import Stage
from tests.commands import Runner, with_options
from tests.study.sweeps import classifier, labelled

NET = ("--model", "tools.models:MLP_MCD", "--model-args", "in_features=10")
TUNE = ("finetune", "mlp_mcd.pt", *NET, "--data", "train.npz", "--bits", "w3a3")
QUICK = (*TUNE, "-o", "tuned.qbnn", "--epochs", 5, "--lr", 1e-3, "--calibration-passes", 2)


INTERRUPTED = """
import os, signal
from qbnnc.backends.torch.training.state import TuningState
from qbnnc.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell has it ignored
save, left = TuningState.save, [3]

def saved(state, path):
    save(state, path)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGINT)

TuningState.save = saved
main()
"""


@pytest.fixture
def command(qbnnc_command: Runner, data: Path) -> Runner:
    """In a folder with mlp_mcd.pt, models.py, train.npz (x, y) and test.npz."""
    (qbnnc_command.folder / "mlp_mcd.pt").write_bytes((data / "mlp_mcd.pt").read_bytes())
    with np.load(data / "diabetes.npz") as archive:
        for part in ("train", "test"):
            arrays = {key: archive[f"{key}_{part}"] for key in ("x", "y")}
            np.savez(f"{part}.npz", allow_pickle=False, **arrays)
    return qbnnc_command


@pytest.mark.parametrize(("loss", "ranges"), [("match", "ema"), ("gaussian-nll", "learned")])
def test_fine_tune_compile_verify(command: Runner, loss: str, ranges: str) -> None:
    tuned = command(*QUICK, "--loss", loss, "--ranges", ranges)
    assert tuned.code == 0
    assert "validation loss: " in tuned.out
    assert "next: qbnnc compile tuned.qbnn" in tuned.out
    assert "step 0/20, validation" in tuned.err
    assert max(map(len, (tuned.out + tuned.err).splitlines())) <= 80
    assert not Path("tuned.qbnn.state").exists()
    assert format.load(Path("tuned.qbnn")).stage is Stage.SIMULATED
    made = command("compile", "tuned.qbnn", "-o", "net.onnx", "-o", "net.qbnn")
    assert f"fine-tuned  5 epochs of {loss}" in made.out
    checked = command("verify", "net.onnx", "net.qbnn", "--input", "test.npz:x")
    assert checked.out.count("equal") == 2
    assert f"fine-tuned: 5 epochs of {loss}" in command("inspect", "net.onnx").out


@pytest.mark.parametrize(
    ("more", "loss", "raw"),
    [
        ((), "relative squared error of the outputs", True),
        (("--task", "classification"), "KL divergence of class probabilities", False),
    ],
)
def test_what_match_compares_is_told(
    qbnnc_command: Runner, more: tuple[str, ...], loss: str, raw: bool
) -> None:
    format.save(classifier(), "net.qbnn")
    np.save("x.npy", labelled(60)[0])
    asked = ("--data", "x.npy", "-o", "tuned.qbnn", "--epochs", 1)
    told = qbnnc_command("finetune", "net.qbnn", *asked, *more).out
    first, *_, last = told.splitlines()
    assert first.startswith(f"loss match: {loss}")
    assert ("if they are logits give --task classification" in told) == raw
    assert ("--task classification" in last) == raw
    assert max(map(len, told.splitlines())) <= 80
    assert format.load("tuned.qbnn").head.task is (Task.RAW if raw else Task.CLASSIFICATION)


def test_normal_distributions_are_compared_and_rates_tried(command: Runner) -> None:
    told = command(*TUNE, "-o", "tuned.qbnn", "--steps", 4)
    assert told.out.startswith("loss match: KL divergence of normal distributions from the float")
    assert "step 0/8, validation" in told.err  # 4 trials of 1 step, and the run
    assert "fine-tuned: 4 steps of match, lr found" in command("inspect", "tuned.qbnn").out
    assert "--steps" in command.refused(*TUNE, "-o", "x.qbnn", "--steps", 4, "--epochs", 1)


def test_a_loss_that_did_not_fall_says_what_to_try(command: Runner) -> None:
    harm = (*TUNE, "-o", "tuned.qbnn", "--steps", 4, "--lr", 0.9)
    assert "so the network is as before: leave --lr out" in command(*harm).words


def test_inputs_alone_are_enough_to_match_the_float_network(command: Runner) -> None:
    with np.load("train.npz") as archive:
        np.save("x.npy", archive["x"])
    names = ("--data", "x.npy", "--validation", "test.npz:x", "-q")
    quiet = command(*with_options(QUICK, *names, "--epochs", 1))
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    assert "--loss" not in command.refused(*QUICK, *names, "--loss", "gaussian-nll")


@pytest.mark.slow
def test_an_interrupted_run_leaves_its_best_and_goes_on(command: Runner) -> None:
    """A real SIGINT after the third validation; --resume ends where the whole run ends."""
    whole = (*TUNE, "-o", "whole.qbnn", "--epochs", 8, "--lr", 0.002, "--calibration-passes", 2)
    assert command(*whole, "-q").code == 0
    part = [str(a).replace("whole", "part") for a in whole]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *part], capture_output=True, text=True, check=False
    )
    state = Path("part.qbnn.state")
    assert done.returncode == 130
    assert "part.qbnn is the best so far, and --resume goes on" in done.stderr
    assert state.exists()
    assert format.load(Path("part.qbnn")).stage is Stage.SIMULATED
    assert command(*part, "--resume", "-q").code == 0
    assert not state.exists()
    ours, theirs = (format.load(Path(f"{name}.qbnn")) for name in ("part", "whole"))
    assert format.digest(ours) == format.digest(theirs)


def test_a_state_is_kept_until_it_is_resumed_or_deleted(command: Runner) -> None:
    Path("tuned.qbnn.state").write_bytes(b"of days of work")
    said = command.refused(*QUICK)
    assert said.startswith(
        "tuned.qbnn.state: a run was interrupted; go on with --resume, or delete"
    )
    assert "no state of an interrupted" in command.refused(*QUICK, "--resume")


def test_a_loss_that_is_no_number_leaves_the_best_and_no_state(command: Runner) -> None:
    """With --resume the same steps would end there again."""
    diverging = with_options(QUICK, "--loss", "gaussian-nll", "--lr", 500, "-q")
    for _ in range(2):
        done = command(*diverging)
        assert done.code == 2
        assert done.err.startswith("Error: --lr 500: the loss is ")
        assert done.err.endswith("outliers. tuned.qbnn is the best until then\n")
        assert format.load(Path("tuned.qbnn")).stage is Stage.SIMULATED
        assert not Path("tuned.qbnn.state").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--data", "absent.npz"), "absent.npz: cannot be read"),
        (("--loss", "cross-entropy"), "--loss cross-entropy: needs one output"),
        (("--loss", "mse"), "--loss mse: trains one output, and the network has 2"),
        (("--lr", "-1"), "--lr: must be above 0"),
        (("--held-out", "1"), "--held-out: must be between 0 and 1"),
        (("--resume",), "tuned.qbnn.state: there is nothing to resume"),
        (("--device", "abacus"), "--device abacus: no device of torch; here there is cpu"),
        (("-o", "tuned.onnx"), "tuned.onnx: a fine-tuned network is a .qbnn"),
        (("-o", "tuned.pt"), "tuned.pt: the suffix must be one of"),
        (("--layer", "nowhere=w4a4"), "nowhere: there is no such layer"),
        (("--bits", "w1a1"), "--bits w1a1: write wNaM"),
    ],
)
def test_what_is_refused(command: Runner, more: tuple[str, ...], message: str) -> None:
    assert command.refused(*with_options(QUICK, *more)).startswith(message)


@pytest.mark.parametrize(
    ("break_data", "message"),
    [
        (lambda x, y: (x[:0], y[:0]), "train.npz:x: no rows"),
        (lambda x, y: (x[:1], y[:1]), "train.npz: 1 row; fine-tuning needs 2"),
        (
            lambda x, y: (x[:, :3], y),
            "MLP_MCD (mlp.py:50): forward fails on the example inputs [2, 3]",
        ),
        (lambda x, y: (x, y[:9]), "train.npz:y: 9 rows"),
        (lambda x, y: (np.where(x > 2, np.nan, x), y), "train.npz:x: NaN in row"),
        (lambda x, y: (x, np.full_like(y, np.inf)), "train.npz:y: "),
    ],
    ids=["empty", "one row", "shape", "lengths", "NaN", "infinite targets"],
)
def test_bad_data_is_one_sentence(command: Runner, break_data: object, message: str) -> None:
    assert callable(break_data)
    with np.load("train.npz") as archive:
        x, y = break_data(archive["x"], archive["y"])
    np.savez("train.npz", allow_pickle=False, x=x, y=y)
    assert command.refused(*QUICK, "--loss", "gaussian-nll").startswith(message)


def test_a_fine_tuned_network_is_not_fine_tuned_again(command: Runner) -> None:
    assert command(*with_options(QUICK, "-q", "--epochs", 0.1)).code == 0
    again = command.refused("finetune", "tuned.qbnn", "--data", "train.npz", "-o", "two.qbnn")
    assert again.startswith("tuned.qbnn: fine-tuned already")
    other = command.refused("compile", "tuned.qbnn", "-o", "x.qbnn", "--bits", "w4a4")
    assert other.startswith("tuned.qbnn: fine-tuned already, and its integers stay")
