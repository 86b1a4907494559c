"""Workers that run jobs: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import multiprocessing
import pickle
import time
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
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from queue import LifoQueue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

from qbnnc.study.jobs import work
from qbnnc.study.plan import Job
from qbnnc.study.results import Result
from qbnnc.study.settings import Study
from qbnnc.support.errors import UserError
from qbnnc.support.processes import one_thread_each, prepare_worker
from qbnnc.version import __version__

if TYPE_CHECKING:
    from distributed import Client

Submit: TypeAlias = Callable[[Job], "Future[tuple[Result, ...]]"]
_CONNECT_SECONDS = 20
_WORKER_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes of this machine, started afresh (spawn), each with one thread.

    Every process is an executor of its own: if a job ends its process, the job's future has a
    BrokenExecutor, and other jobs go on.
    """

    workers: int

    @contextmanager
    def open(self, study: Study) -> Iterator[Submit]:
        """Processes that know the study; an exception stops them at once."""
        free: LifoQueue[Executor] = LifoQueue()  # idle processes, the warm one first
        with TemporaryDirectory(prefix="qbnnc-sweep-") as folder, one_thread_each():
            path = Path(folder, "study.pickle")
            path.write_bytes(pickle.dumps(study, protocol=5))

            def start() -> Executor:
                context = multiprocessing.get_context("spawn")
                return ProcessPoolExecutor(1, context, prepare_worker, (folder,))

            def run(job: Job) -> tuple[Result, ...]:
                process = free.get()
                try:
                    return process.submit(_work_from_file, path, job).result()
                except BrokenExecutor:
                    process = start()
                    raise
                finally:
                    free.put(process)

            before = set(multiprocessing.active_children())
            threads = ThreadPoolExecutor(self.workers)
            for _ in range(self.workers):
                free.put(start())
            try:
                yield lambda job: threads.submit(run, job)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                while free.qsize() < self.workers:  # more than once: a process may be starting
                    for child in set(multiprocessing.active_children()) - before:
                        child.terminate()
                    time.sleep(0.05)
                raise
            finally:
                threads.shutdown()
                while not free.empty():
                    free.get().shutdown()


@dataclass(frozen=True, slots=True)
class Given:
    """An executor that the caller starts and stops."""

    executor: Executor

    @contextmanager
    def open(self, study: Study) -> Iterator[Submit]:
        """The executor; jobs that have not begun are cancelled at the end."""
        given: list[Future[tuple[Result, ...]]] = []

        def submit(job: Job) -> Future[tuple[Result, ...]]:
            try:
                given.append(self.executor.submit(work, study, job))
            except BrokenExecutor as error:
                given.append(Future())
                given[-1].set_exception(error)
            return given[-1]

        try:
            yield submit
        finally:
            for future in given:
                future.cancel()


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a Dask scheduler, which need this version of qbnnc, and no files."""

    address: str

    def check(self) -> None:
        """UserError, before any work, without workers that have this version of qbnnc."""
        with self._client() as client:
            try:
                client.wait_for_workers(1, timeout=_WORKER_SECONDS)
            except TimeoutError:
                raise self._error(
                    "no worker joined it", f"start some: dask worker {self.address} --nthreads 1"
                ) from None
            try:
                versions = client.run(installed)
            except Exception as error:  # whatever unpickling a function raises without its package
                raise self._error(
                    f"the workers cannot import qbnnc ({_first_line(error)})",
                    f"install qbnnc[compile,distributed] {__version__} there",
                ) from None
        for worker, version in versions.items():
            if version != __version__:
                raise self._error(
                    f"worker {worker} has qbnnc {version}, and this is {__version__}",
                    "install the same everywhere",
                )

    @contextmanager
    def open(self, study: Study) -> Iterator[Submit]:
        """Workers that know the study."""
        with self._client() as client:
            shared = client.scatter(study, broadcast=True)
            executor = client.get_executor(pure=False)
            try:
                yield partial(executor.submit, work, shared)
            finally:
                executor.shutdown(wait=False)

    def _client(self) -> Client:
        """Connect to the scheduler; UserError if nobody answers."""
        if find_spec("distributed") is None:
            raise UserError(
                "needs Dask", "`scheduler`", "install it with pip install 'qbnnc[distributed]'"
            )
        from distributed import Client

        try:
            return Client(self.address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise self._error(
                f"no Dask scheduler answers ({_first_line(error)})",
                "give its address, such as tcp://127.0.0.1:8786",
            ) from None

    def _error(self, message: str, remedy: str) -> UserError:
        return UserError(message, f"`scheduler='{self.address}'`", remedy)


Workers: TypeAlias = Processes | Given | Cluster


def installed() -> str:
    """The version of qbnnc that a worker has."""
    return __version__


def _work_from_file(path: Path, job: Job) -> tuple[Result, ...]:
    return work(_study(path), job)


@lru_cache(maxsize=1)
def _study(path: Path) -> Study:
    """The study in a file, read once in a process."""
    study = pickle.loads(path.read_bytes())  # our own file, in a folder only we may read
    assert isinstance(study, Study)
    return study


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
