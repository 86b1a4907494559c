"""Chunks on processes and on a Dask cluster: the bytes are those of one process."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

import qbnnc
from qbnnc.batches import computing
from qbnnc.batches.computing import Computer, Request, Work, numerics
from qbnnc.batches.workers.cluster import Cluster
from qbnnc.batches.workers.pool import Processes, opened
from qbnnc.support.errors import UserError
from tests.commands import Runner
from tests.qbnnc.batches.files import assert_equal, predicted, read_output, some_rows, tree


@pytest.fixture
def mlp(artefacts: Path) -> Path:
    return artefacts / "mlp.qbnn"


def work_of(model: Path) -> Work:
    return Work(model.read_bytes(), str(model), Request(None, 0, True, ()), numerics())


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced(mlp: Path) -> None:
    import multiprocessing

    rows = some_rows(600)
    wanted = predicted(mlp, rows)
    with opened(Processes(2), work_of(mlp)) as submit:
        submit(rows[:1], 0).result()
        victim = multiprocessing.active_children()[0]
        futures = [submit(rows[i : i + 10], i) for i in range(0, 300, 10)]
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
        futures += [submit(rows[i : i + 10], i) for i in range(300, 600, 10)]
        made = [future.result().arrays["mean"] for future in futures]
    assert np.array_equal(np.concatenate(made), wanted["mean"])


def test_a_worker_that_rounds_otherwise_sends_samples(
    mlp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, rows = work_of(mlp), some_rows(30)
    computer = Computer.of(work)
    assert not computer.compute_for(work, rows, 5).unreduced
    monkeypatch.setattr(computing, "numerics", lambda: "another library")
    sent = computer.compute_for(work, rows, 5)
    assert sent.unreduced
    assert sent.arrays["samples"].shape == (20, 30, 1)
    wanted = predicted(mlp, rows, first_row=5)
    found = computer.finished(sent)
    assert_equal(found, {n: a for n, a in wanted.items() if not n.startswith("samples")})


def test_a_worker_of_another_version_refuses(mlp: Path) -> None:
    import dataclasses

    with pytest.raises(UserError, match=r"a worker has qbnnc .*, and this is 0\.0\.1"):
        Computer.of(dataclasses.replace(work_of(mlp), version="0.0.1"))


@pytest.mark.slow
def test_a_cluster_of_3_workers_one_of_which_is_killed(mlp: Path, tmp_path: Path) -> None:
    from distributed import LocalCluster  # takes most of a second, in each process otherwise

    np.save(tmp_path / "x.npy", some_rows(4000))
    qbnnc.predict_file(mlp, tmp_path / "x.npy", tmp_path / "here.npz")
    with LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        pids = [nanny.pid for nanny in cluster.workers.values()]
        killed = threading.Event()

        def kill(label: str, done: int, total: int) -> None:
            if done >= 1000 and not killed.is_set():
                os.kill(pids[0], signal.SIGKILL)
                killed.set()

        made = qbnnc.predict_file(
            mlp,
            tmp_path / "x.npy",
            tmp_path / "there.npz",
            scheduler=cluster.scheduler_address,
            chunk_size=20,
            progress=kill,
        )
    assert killed.is_set()
    assert made.rows == 4000
    assert tree(tmp_path / "there.npz") == tree(tmp_path / "here.npz")
    assert_equal(read_output(tmp_path / "there.npz"), predicted(mlp, some_rows(4000)))


@pytest.mark.slow
def test_a_scheduler_without_workers(mlp: Path, tmp_path: Path, qbnnc_command: Runner) -> None:
    from distributed import LocalCluster

    np.save("x.npy", some_rows(3))
    with LocalCluster(n_workers=0, dashboard_address=None, processes=True) as cluster:
        address = cluster.scheduler_address
        result = qbnnc_command(
            "run", mlp, "--input", "x.npy", "-o", "p.npz", "--scheduler", address, "--wait", "3"
        )
    assert result.code == 2
    lines = result.err.splitlines()
    assert lines[0] == f"Warning: no worker has joined {address} yet: waiting for 3 s"
    assert lines[1] == (
        f"Error: --scheduler {address}: no worker joined it within 3 s; start some: dask worker "
        f"{address} --nthreads 1"
    )
    assert not Path("p.npz.partial").exists()


def test_an_address_without_a_port_is_refused_at_once(mlp: Path, qbnnc_command: Runner) -> None:
    np.save("x.npy", some_rows(3))
    for address in ("host", "tcp://host", "tcp://host:", ":8786"):
        said = qbnnc_command.refused(
            "run", mlp, "--input", "x.npy", "-o", "p.npz", "--scheduler", address
        )
        assert said == (
            f"--scheduler {address}: an address has a host and a port; write such as "
            "tcp://host:8786"
        )


def test_nobody_answers(mlp: Path, qbnnc_command: Runner) -> None:
    np.save("x.npy", some_rows(3))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        said = qbnnc_command.refused(
            "run", mlp, "--input", "x.npy", "-o", "p.npz", "--scheduler", address
        )
    assert said.startswith(f"--scheduler {address}: no Dask scheduler answers")
    assert said.endswith("is it there? write such as tcp://host:8786")


def test_addresses() -> None:
    for address in ("host:8786", "tcp://10.0.0.1:8786", "tls://[::1]:8786"):
        Cluster(address).check_address()
