"""Signals and other writers while files are replaced: all old or all new, and nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qbnnc.support import staging
from qbnnc.support.files import (
    write_all,
    write_atomically,
)
from tests.support.test_files import names


@pytest.mark.parametrize("threads", [8])
def test_writers_of_one_file_do_not_harm_each_other(tmp_path: Path, threads: int) -> None:
    contents = [bytes([i]) * 10_000 for i in range(threads)]

    def work(content: bytes) -> None:
        for _ in range(20):
            write_all([(tmp_path / "a", content), (tmp_path / "b", content)])

    workers = [threading.Thread(target=work, args=(content,)) for content in contents]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert names(tmp_path) == ["a", "b"]
    assert {(tmp_path / name).read_bytes() for name in "ab"} <= set(contents)


SLOW_WRITER = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start us without it
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from pathlib import Path
from qbnnc.support import staging
from qbnnc.support.files import write_all
sync = os.fsync
def slow(handle):
    print("writing", flush=True)
    time.sleep(0.5)
    sync(handle)
staging.os.fsync = slow
write_all([(Path(name), b"new") for name in sys.argv[1:]])
time.sleep(60)
"""


def _interrupted(folder: Path, number: signal.Signals) -> int:
    """The exit code of a process that gets a signal while it writes."""
    paths = [str(folder / name) for name in "ab"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_WRITER, *paths], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        process.communicate(timeout=30)
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_all_old_and_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "a").write_bytes(b"old")
    assert _interrupted(tmp_path, number) == -number
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_killed_process_leaves_what_the_next_removes(tmp_path: Path) -> None:
    assert _interrupted(tmp_path, signal.SIGKILL) == -signal.SIGKILL
    assert any(staging._NAME.fullmatch(name) for name in names(tmp_path))
    write_atomically(tmp_path / "a", b"new")
    assert names(tmp_path) == ["a"]


def test_a_signal_while_files_are_renamed_leaves_all_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.01)  # room for a handler
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_all([(tmp_path / "a", b"new"), (tmp_path / "b", b"new")])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert names(tmp_path) == ["a", "b"]


def test_a_handler_of_the_program_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    sync = os.fsync

    def stopping(handle: int) -> None:
        signal.raise_signal(signal.SIGTERM)
        sync(handle)

    monkeypatch.setattr(os, "fsync", stopping)
    try:
        write_atomically(tmp_path / "a", b"new")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen[0] == signal.SIGTERM
    assert names(tmp_path) == ["a"]
