"""Chunks on their way: computed here, or by processes of this machine."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import LifoQueue
from tempfile import TemporaryDirectory
from typing import Protocol

from qbnnc.batches.computing import Computed, Computer, Float32, Work
from qbnnc.support.errors import UserError
from qbnnc.support.processes import ended, one_thread_each, prepare_worker

Submit = Callable[[Float32, int], "Future[Computed]"]
_TRIES = 3  # of a chunk whose process ends


class Workers(Protocol):
    """Where chunks are computed."""

    @property
    def depth(self) -> int:
        """How many chunks may be on their way at once."""

    def open(self, work: Work) -> Iterator[Submit]:
        """Begin; a generator for `contextmanager`."""


@dataclass(frozen=True, slots=True)
class Here:
    """This process, which computes a chunk when it is submitted."""

    computer: Computer
    depth: int = 1

    def open(self, work: Work) -> Iterator[Submit]:
        """Give a function that computes a chunk at once."""

        def submit(rows: Float32, first_row: int) -> Future[Computed]:
            future = Future[Computed]()
            future.set_result(Computed(self.computer.compute(rows, first_row)))
            return future

        yield submit


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes of this machine, started afresh (spawn), each with one thread.

    Every process is an executor of its own. If one ends, its chunk is computed by a new one.
    """

    count: int

    @property
    def depth(self) -> int:
        return 2 * self.count

    def open(self, work: Work) -> Iterator[Submit]:
        """Start the processes; an exception stops them at once."""
        free: LifoQueue[Executor] = LifoQueue()  # idle processes, the warm one first
        with TemporaryDirectory(prefix="qbnnc-run-") as folder, one_thread_each():
            path = Path(folder, "work.pickle")
            path.write_bytes(pickle.dumps(work, protocol=5))

            def start() -> Executor:
                context = multiprocessing.get_context("spawn")
                return ProcessPoolExecutor(1, context, prepare_worker, (folder,))

            def run(rows: Float32, first_row: int) -> Computed:
                for _ in range(_TRIES):
                    process = free.get()
                    try:
                        return process.submit(_compute, path, rows, first_row).result()
                    except BrokenExecutor:
                        process = start()
                    finally:
                        free.put(process)
                raise UserError(
                    f"the process that predicts row {first_row} and those after it ended {_TRIES} "
                    "times, as it does without memory",
                    place="`workers`",
                    remedy="take fewer, or a smaller `chunk_size`",
                )

            before = set(multiprocessing.active_children())
            threads = ThreadPoolExecutor(self.count)
            for _ in range(self.count):
                free.put(start())
            try:
                yield lambda rows, first_row: threads.submit(run, rows, first_row)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                ended(before, lambda: free.qsize() == self.count)
                raise
            finally:
                threads.shutdown()
                while not free.empty():
                    free.get().shutdown()


@contextmanager
def opened(workers: Workers, work: Work) -> Iterator[Submit]:
    """The workers, ready for chunks."""
    yield from workers.open(work)


def _compute(path: Path, rows: Float32, first_row: int) -> Computed:
    work, computer = _computer(path)
    return computer.compute_for(work, rows, first_row)


@lru_cache(maxsize=1)
def _computer(path: Path) -> tuple[Work, Computer]:
    """The work in a file, read once in a process."""
    work = pickle.loads(path.read_bytes())  # our own file, in a folder only we may read
    assert isinstance(work, Work)
    return work, Computer.of(work)
