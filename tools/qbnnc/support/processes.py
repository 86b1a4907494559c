"""Processes that compute for this one: one thread each, ended with it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def prepare_worker(folder: str) -> None:
    """Prepare a worker: the parent handles Ctrl-C, and the worker ends when the parent does.

    The worker then removes the `folder`, which the parent cannot.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: str) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Give new processes one thread: libraries read these variables when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ended(before: Set[BaseProcess], idle: Callable[[], bool]) -> None:
    """End all children but those `before`, until no one waits for them: then `idle` is true."""
    while not idle():  # more than once: a process may be starting
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        time.sleep(0.05)
