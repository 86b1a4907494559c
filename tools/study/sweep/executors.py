"""Where jobs run: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol, TypeAlias

from qbnnc.study.sweep.plan import Job
from qbnnc.study.sweep.rows import Result
from qbnnc.study.sweep.work import Study, work
from qbnnc.support.errors import UserError
from qbnnc.version import __version__

if TYPE_CHECKING:
    from distributed import Client

Submit: TypeAlias = Callable[[Job], "Future[tuple[Result, ...]]"]
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_CONNECT_SECONDS = 20
_WORKER_SECONDS = 60


class Pool(Protocol):
    """Something that runs jobs of a study, several at a time."""

    @property
    def in_flight(self) -> int:
        """How many jobs it is given before the first is done."""

    def check(self) -> None:
        """UserError, before any work, if there are no workers."""

    def open(self, study: Study) -> AbstractContextManager[Submit]:
        """Workers that know the study; an exception stops them at once."""


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes of this machine, started afresh (spawn), each with one thread."""

    workers: int

    @property
    def in_flight(self) -> int:
        return self.workers if self.workers == 1 else self.workers + 1

    def check(self) -> None:
        """Processes can always be started."""

    @contextmanager
    def open(self, study: Study) -> Iterator[Submit]:
        with TemporaryDirectory(prefix="qbnnc-sweep-") as folder, _one_thread_each():
            path = Path(folder, "study.pickle")
            path.write_bytes(pickle.dumps(study, protocol=5))
            before = set(multiprocessing.active_children())
            pool = ProcessPoolExecutor(
                self.workers, multiprocessing.get_context("spawn"), _start, (folder,)
            )
            try:
                yield lambda job: pool.submit(_work_from_file, path, job)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for child in set(multiprocessing.active_children()) - before:
                    child.terminate()
                raise
            finally:
                pool.shutdown()


@dataclass(frozen=True, slots=True)
class Given:
    """Any executor of the caller's, who starts and stops it."""

    executor: Executor
    in_flight: int = 10**6

    def check(self) -> None:
        """The caller knows it."""

    @contextmanager
    def open(self, study: Study) -> Iterator[Submit]:
        given: list[Future[tuple[Result, ...]]] = []

        def submit(job: Job) -> Future[tuple[Result, ...]]:
            given.append(self.executor.submit(work, study, job))
            return given[-1]

        try:
            yield submit
        finally:
            for future in given:
                future.cancel()


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a Dask scheduler; they need this version of qbnnc, and no files."""

    address: str
    in_flight: int = 10**6  # the scheduler keeps them until a worker is free

    def check(self) -> None:
        with self._client() as client:
            try:
                client.wait_for_workers(1, timeout=_WORKER_SECONDS)
            except TimeoutError:
                raise self._error(
                    f"no worker joined it; start some: dask worker {self.address} --nthreads 1"
                ) from None
            try:
                versions = client.run(installed)
            except Exception as error:  # whatever unpickling a function raises without its package
                raise self._error(
                    f"the workers cannot import qbnnc ({_first_line(error)}): install "
                    f"qbnnc[compile,distributed] {__version__} there"
                ) from None
        for worker, version in versions.items():
            if version != __version__:
                raise self._error(
                    f"worker {worker} has qbnnc {version}, and this is {__version__}: install the "
                    "same everywhere"
                )

    @contextmanager
    def open(self, study: Study) -> Iterator[Submit]:
        with self._client() as client:
            shared = client.scatter(study, broadcast=True)
            executor = client.get_executor(pure=False)
            try:
                yield partial(executor.submit, work, shared)
            finally:
                executor.shutdown(wait=False)

    def _client(self) -> Client:
        """A connection of our own; UserError if nobody answers."""
        if find_spec("distributed") is None:
            raise UserError(
                "--scheduler: needs Dask: install it with pip install 'qbnnc[distributed]'"
            )
        from distributed import Client

        try:
            return Client(self.address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise self._error(
                f"no Dask scheduler answers ({_first_line(error)}); give its address, such as "
                "tcp://127.0.0.1:8786"
            ) from None

    def _error(self, message: str) -> UserError:
        return UserError(f"--scheduler {self.address}: {message}")


def installed() -> str:
    """The version of qbnnc, asked of every worker."""
    return __version__


def _work_from_file(path: Path, job: Job) -> tuple[Result, ...]:
    study = pickle.loads(path.read_bytes())  # our own file, in a folder only we may read
    assert isinstance(study, Study)
    return work(study, job)


def _start(folder: str) -> None:
    """In a worker: Ctrl-C is the parent's to handle, and the worker ends when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()


def _end_with_parent(folder: str) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Libraries read these when they are loaded, before a worker could set anything."""
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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
