"""Runs that are killed, and run again: the bytes are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import qbnnc
from qbnnc.batches.partial import partial_of
from tests.qbnnc.batches.files import some_rows, tree

ROWS = 6000
SLOW = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
import sys, time
import qbnnc.batches.spool as spool
from qbnnc.cli.main import main
spool._KEEP_SECONDS = 0.0
append = spool.Spool.append
def slowly(*arguments):
    append(*arguments)
    print("appended", flush=True)
    time.sleep(PAUSE)
spool.Spool.append = slowly
sys.argv = ["qbnnc", *sys.argv[1:]]
main()
"""


def start(
    artefacts: Path, folder: Path, output: str, *more: str, pause: float = 0.02
) -> subprocess.Popen[str]:
    """A run of the command line in small chunks, each of which is kept and told."""
    command = ("run", str(artefacts / "mlp.qbnn"), "--input", "x.npy", "-o", output, "--chunk-size")
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            SLOW.replace("PAUSE", str(pause)),
            *command,
            "100",
            "--statistics-only",
            *more,
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], chunks: int) -> None:
    assert process.stdout is not None
    for _ in range(chunks):
        assert process.stdout.readline() == "appended\n"


@pytest.mark.slow
@pytest.mark.parametrize("output", ["p.npz", "p.csv", "p.zarr", "p/"])
def test_killed_at_several_moments(output: str, artefacts: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(ROWS))
    qbnnc.predict_file(
        artefacts / "mlp.qbnn",
        tmp_path / "x.npy",
        f"{tmp_path}/undisturbed{output.removeprefix('p')}",
        statistics_only=True,
    )
    partial = partial_of(tmp_path / output.rstrip("/"))
    for chunks in (1, 7, 13):
        process = start(artefacts, tmp_path, output)
        wait_for(process, chunks)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        process.communicate()
        assert (partial / "state.json").exists()
        assert not (tmp_path / output).exists()
    made = qbnnc.predict_file(
        artefacts / "mlp.qbnn", tmp_path / "x.npy", f"{tmp_path}/{output}", statistics_only=True
    )
    assert 100 * (1 + 7 + 13 - 3) <= made.kept < ROWS
    assert tree(tmp_path / output) == tree(tmp_path / f"undisturbed{output.removeprefix('p')}")
    assert not partial.exists()


@pytest.mark.slow
def test_killed_while_the_output_is_written_and_replaced(artefacts: Path, tmp_path: Path) -> None:
    """At random moments of runs that only write: a whole output is there afterwards, old or new."""
    np.save(tmp_path / "x.npy", some_rows(3000))
    run = (
        "import sys, qbnnc; print('ready', flush=True); "
        "qbnnc.predict_file(*sys.argv[1:], statistics_only=True)"
    )
    files = (str(artefacts / "mlp.qbnn"), "x.npy", "p.zarr")
    subprocess.run([sys.executable, "-c", run, *files], cwd=tmp_path, check=True)
    whole = tree(tmp_path / "p.zarr")
    rng = np.random.default_rng(0)
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", run, *files], cwd=tmp_path, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0, 2))
            process.kill()
        there = [p for p in (tmp_path / "p.zarr", tmp_path / "p.zarr.replaced") if p.exists()]
        assert tree(there[0]) == whole
    qbnnc.predict_file(
        artefacts / "mlp.qbnn", tmp_path / "x.npy", tmp_path / "p.zarr", statistics_only=True
    )
    assert tree(tmp_path / "p.zarr") == whole
    assert {each.name for each in tmp_path.iterdir()} == {"x.npy", "p.zarr"}


def test_ctrl_c_tells_what_is_kept(artefacts: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(ROWS))
    process = start(artefacts, tmp_path, "p.npz", pause=1)
    wait_for(process, 3)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in said
    kept = int(said.split()[1])
    assert said == (
        f"interrupted; {kept} rows are kept in p.npz.partial, and running it again goes on\n"
    )
    assert 300 <= kept < ROWS
    made = qbnnc.predict_file(
        artefacts / "mlp.qbnn", tmp_path / "x.npy", tmp_path / "p.npz", statistics_only=True
    )
    assert made.kept == kept


def test_two_runs_do_not_write_to_one_output(artefacts: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some_rows(ROWS))
    with start(artefacts, tmp_path, "p.npz", pause=1) as process:
        wait_for(process, 1)
        with pytest.raises(qbnnc.support.errors.FileError, match="another run is writing to it"):
            qbnnc.predict_file(
                artefacts / "mlp.qbnn", tmp_path / "x.npy", tmp_path / "p.npz", statistics_only=True
            )
        process.kill()
