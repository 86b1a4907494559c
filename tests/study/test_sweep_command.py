"""`qbnnc sweep` and `qbnnc report` as a user has them: real processes, kills, a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import qbnnc
from qbnnc.cli import sweep
from qbnnc.runtime.threads import physical_cores
from qbnnc.study import jobs
from qbnnc.study.plan import Item, Job
from qbnnc.study.results import Precision, read_rows
from qbnnc.study.run import run_jobs
from qbnnc.study.workers import Processes
from qbnnc.support.errors import UserError
from tests.commands import Result, Runner, with_options
from tests.study.sweeps import classifier, deadly_study, labelled, small_sweep, timeless

SWEEP = ("sweep", "net.qbnn", "--train", "train.npz", "--data", "test.npz", "-o", "s.jsonl")
CLASSES = ("--task", "classification", "--bits", "w8a7,w4a4", "--seeds", 2, "--workers", 1)
USUAL = (*SWEEP, *CLASSES)


class Small(nn.Module):
    """[6] to logits [3], MC dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.b(nn.functional.dropout(torch.relu(self.a(x)), 0.2, training=True))
        return out


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small as a .qbnn."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("small") / "net.qbnn"
    qbnnc.save(Small().eval(), path, (torch.zeros(2, 6),))
    return path


@pytest.fixture
def study(qbnnc_command: Runner, small: Path) -> Runner:
    """In a folder with net.qbnn (float), train.npz, test.npz, ood.npy."""
    x, y = labelled(120)
    shutil.copy(small, "net.qbnn")
    np.savez("train.npz", x=x, y=y)
    np.savez("test.npz", x=x[:40], y=y[:40])
    np.save("ood.npy", 9 * x[:20])
    return qbnnc_command


@pytest.mark.slow
def test_a_study_from_the_command_line(study: Runner) -> None:
    done = study(*SWEEP, *CLASSES, "--ood", "ood.npy", "--samples", 4)
    assert done.code == 0, done.err
    assert done.err == ""
    assert "net: MC dropout, L = 4, 2 seeds" in done.out
    (header,) = [line for line in done.out.splitlines() if "KL from float" in line]
    assert header.split("  ")[-2:] == ["rank correlation", "spread / float's"]
    assert max(map(len, done.out.splitlines())) <= 80
    assert len(read_rows("s.jsonl")) == 7
    again = study(*SWEEP, *CLASSES, "--ood", "ood.npy", "--samples", 4, "-q")
    assert (again.code, again.out, again.err) == (0, "", "")


@pytest.mark.few(0)
def test_a_report_of_a_study(study: Runner) -> None:
    pytest.importorskip("matplotlib", reason="the page needs the extra qbnnc[study]")
    small_sweep(Path("s.jsonl"))
    small_sweep(Path("more.jsonl"), networks={"other": classifier(members=2)})
    with Path("more.jsonl").open("a") as file:
        file.write('{"kind": "res')
    made = study("report", "s.jsonl", "more.jsonl", "-o", "s.html")
    assert made == Result(0, "wrote s.html\n", "")
    page = Path("s.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<h1>net, other</h1>" in page
    assert "train.npz: " in study.refused("report", "train.npz", "-o", "t.html")
    header = Path("s.jsonl").read_text().splitlines(keepends=True)[0]
    for content, message in (("", "the file is empty"), ("\n", "has no re"), (header, "has no re")):
        Path("none.jsonl").write_text(content)
        said = study.refused("report", "none.jsonl", "-o", "t.html")
        assert said.startswith(f"none.jsonl: {message}")


def test_data_that_does_not_fit(study: Runner) -> None:
    x, y = labelled(40)
    nan = x.copy()
    nan[3, 2] = np.nan
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "nan": ({"x": nan, "y": y}, "NaN in row 3"),
        "shape": ({"x": x[:, :5], "y": y}, "the shape is [40, 5]"),
        "high": ({"x": x, "y": y + 1}, "out of range"),
        "half": ({"x": x, "y": y + 0.5}, "not a whole number"),
        "empty": ({"x": x[:0], "y": y[:0]}, "no rows"),
        "lengths": ({"x": x, "y": y[:39]}, "39 rows"),
        "key": ({"inputs": x, "y": y}, "no array x"),
    }
    for name, (arrays, message) in cases.items():
        np.savez(f"{name}.npz", **arrays)
        said = study.refused(*with_options(USUAL, "--data", f"{name}.npz"))
        assert said.startswith(f"{name}.npz")
        assert message in said
        if name != "key":
            tuned = study.refused(*with_options(USUAL, "--train", f"{name}.npz", "--qat"))
            assert message in tuned
    np.save("short.npy", x[:, :5])
    assert "short.npy: the shape" in study.refused(*SWEEP, *CLASSES, "--ood", "short.npy")


@pytest.mark.few(8)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bits", "w9a7"), "--bits w9a7: write wNaM"),
        (("--bits", "w8a7", "--grid"), "--bits: names them all"),
        (("--task", "regression"), "train.npz:y: the shape is [120]"),
        (("--qat", "--epochs", "-1"), "--epochs"),
        (("--epochs", "2"), "--epochs: is for fine-tuning; give --qat too"),
        (("--ptq", "--loss", "mse"), "--loss: is for fine-tuning"),
        (("--lr", "0.1"), "--lr: is for fine-tuning"),
        (("--batch-size", "8"), "--batch-size: is for fine-tuning"),
        (("--layer", "c=w4a4"), "c: there is no such layer; there are a, b"),
        (("--layer", "c=w4a4", "two=net.qbnn"), "net: c: there is no such layer"),
        (("--qat", "--loss", "guess"), "--loss 'guess': choose one of match, "),
        (("--qat", "--loss", "mse", "--train", "ood.npy"), "ood.npy"),
        (("--qat", "--loss", "gaussian-nll"), "--loss gaussian-nll: needs two outputs"),
        (("--train", "missing.npz"), "missing.npz: cannot be read"),
        (("--target-std", "0"), "--target-std 0: give a positive number"),
        (("--shifts",), "--shifts: images are shifted"),
        (("--model", "other=models:Net"), "no network is called 'other'; there is net"),
        (("--model", "models:Net"), "--model is for what torch reads"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--workers: with --scheduler"),
        (("--report", "nowhere/s.html"), "nowhere/s.html: cannot be written"),
        (("-o", "nowhere/s.jsonl"), "nowhere/s.jsonl: cannot be written"),
        (("-o", "train.npz"), "train.npz: "),
        (("-o", "README.md"), "README.md:1: "),
    ],
)
def test_wrong_options(study: Runner, options: tuple[str, ...], message: str) -> None:
    assert message in study.refused(*with_options(USUAL, *options))


def test_widths_and_bits_are_told_apart(study: Runner) -> None:
    said = study.refused(*SWEEP, "--task", "classification", "--weights-bits", "3-8")
    assert said.startswith("--weights-bits '3-8': write numbers of bits")


def test_a_task_must_be_known(study: Runner) -> None:
    assert study.refused(*SWEEP).startswith("--task: the networks do not say")


def test_compiled_networks_are_refused(study: Runner, artefacts: Path) -> None:
    shutil.copy(artefacts / "mlp.qbnn", "mlp.qbnn")
    np.savez("ten.npz", x=np.zeros((40, 10)), y=np.zeros(40))
    said = study.refused(
        "sweep", "mlp.qbnn", "--train", "ten.npz", "--data", "ten.npz", "-o", "s.jsonl"
    )
    assert said.startswith("mlp: quantised already (w8a7,input=a8)")


def test_networks_of_different_shapes_are_refused(study: Runner) -> None:
    qbnnc.save(nn.Sequential(nn.Linear(6, 2)).eval(), "two.qbnn", (torch.zeros(2, 6),))
    said = study.refused("sweep", "two.qbnn", *SWEEP[1:], *CLASSES)
    assert said.startswith("net: from [6] to [3], and two is from [6] to [2]")


def test_a_sweep_of_which_nothing_quantised_came_has_failed(
    study: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*args: object, **options: object) -> None:
        raise UserError("a: no integer form")

    def here(networks: object, output: str, **options: object) -> object:
        del options["scheduler"]  # then small_sweep stays in this process
        return small_sweep(Path(output), **(options | {"networks": networks, "workers": None}))

    monkeypatch.setattr(sweep, "run_sweep", here)
    asked = with_options(USUAL, "--seeds", 1, "--samples", 2)
    assert study(*with_options(asked, "-o", "whole.jsonl", "--bits", "w8a7", "-q")).code == 0
    monkeypatch.setattr(jobs, "quantise_model", failing)
    done = study(*asked, "-q")
    assert done.code == 1
    *reasons, last = done.err.splitlines()
    assert reasons == [f"Failed: net ptq {bits}: a: no integer form" for bits in ("w8a7", "w4a4")]
    assert last.startswith("Error: every quantised network failed, for the reasons above: s.jsonl")


def test_few_calibration_rows_are_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="20 calibration rows are few"):
        small_sweep(tmp_path / "s.jsonl", train=labelled(20)[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in /proc")
def test_a_sweep_that_is_interrupted_and_killed_goes_on_to_the_same_file(
    study: Runner, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", "from qbnnc.cli.main import main; main()"]
    command += map(str, [*SWEEP, *CLASSES, "--ptq", "--qat", "--epochs", 1, "--samples", 3])
    other = tmp_path / "whole"
    shutil.copytree(tmp_path, other)
    subprocess.run(command, cwd=other, check=True, stdout=subprocess.DEVNULL)
    code, said = _stopped(command, signal.SIGINT, lines=3)
    assert code == 130
    assert said.endswith("s.jsonl holds what is done: give the same command again to go on\n")
    code, _ = _stopped(command, signal.SIGKILL, lines=_lines("s.jsonl") + 1)
    assert code == -signal.SIGKILL
    assert 4 <= _lines("s.jsonl") < _lines(other / "s.jsonl")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert timeless(Path("s.jsonl")) == timeless(other / "s.jsonl")


@pytest.mark.slow
def test_a_job_that_kills_its_worker_is_told_and_the_others_done() -> None:
    items = [Item(n, Precision.FLOAT, None, s) for n in ("good", "deadly") for s in (0, 1)]
    each = [Job((item,)) for item in items]
    done = {r.key: r for rows in run_jobs(Processes(2), deadly_study(), each) for r in rows}
    assert {key for key, r in done.items() if r.error is None} == {
        "good/float/seed0", "good/float/seed1"
    }  # fmt: skip
    assert "the worker process died" in (done["deadly/float/seed1"].error or "")


def test_cores() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)


@pytest.mark.slow
def test_a_cluster_gives_the_same_results(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs the extra qbnnc[distributed]")
    options = {"ptq": True, "qat": True, "bits": "w4a4"}
    small_sweep(tmp_path / "here.jsonl", **options)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        address = cluster.scheduler_address
        small_sweep(tmp_path / "there.jsonl", scheduler=address, **options)
    assert timeless(tmp_path / "here.jsonl") == timeless(tmp_path / "there.jsonl")


def _stopped(command: Sequence[str], how: signal.Signals, *, lines: int) -> tuple[int, str]:
    """Exit code and stderr of a sweep that gets a signal once it has written so many lines.

    Ctrl-C reaches the workers too, SIGKILL its process alone; the workers end in either case.
    """
    running = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    while running.poll() is None and _lines("s.jsonl") < lines:
        time.sleep(0.02)
    workers = _children(running.pid)
    (os.kill if how is signal.SIGKILL else os.killpg)(running.pid, how)
    _, said = running.communicate()
    assert workers
    assert _ended(workers)
    return running.returncode, said


def _lines(path: str | Path) -> int:
    return Path(path).read_bytes().count(b"\n") if Path(path).exists() else 0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _ended(processes: Sequence[int]) -> bool:
    """Whether all of them are gone, or dead and not yet collected, within some seconds."""
    for _ in range(200):
        if not any(_alive(pid) for pid in processes):
            return True
        time.sleep(0.1)
    return False


def _alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
