"""Jobs given to workers as these become free, and what becomes of a job that kills its worker."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Future,
    wait,
)
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from qbnnc.study.sweep.executors import Pool, Processes
from qbnnc.study.sweep.plan import Job, Plan, jobs
from qbnnc.study.sweep.rows import Header, Result
from qbnnc.study.sweep.store import open_store
from qbnnc.study.sweep.work import Study, describe, failures
from qbnnc.support.errors import UserError

_DIED = "the worker process died: out of memory? Try fewer --workers, or another machine"


def run_jobs(
    pool: Pool, study: Study, jobs: Iterable[Job]
) -> Generator[tuple[Result, ...], None, None]:
    """The results of each job as they come; a job that cannot be done gives rows with an error.

    When a worker dies, its pool is lost with all that ran in it: a new one goes on, and each job
    that was in flight is tried again with nothing beside it. The one that kills its worker once
    more is to blame, and is given up.
    """
    waiting = deque(jobs)
    while waiting:
        for job in (yield from _until_broken(pool, study, waiting)):
            if (yield from _until_broken(_alone(pool), study, deque([job]))):
                yield failures(study, job, _DIED)


def _until_broken(
    pool: Pool, study: Study, waiting: deque[Job]
) -> Generator[tuple[Result, ...], None, list[Job]]:
    """Run what is waiting; returns the jobs that were in flight when the pool broke, or none."""
    running: dict[Future[tuple[Result, ...]], Job] = {}
    with pool.open(study) as submit:
        while waiting or running:
            broken: list[Job] = []
            while waiting and len(running) < pool.in_flight:
                job = waiting.popleft()
                try:
                    running[submit(job)] = job
                except BrokenExecutor:
                    waiting.appendleft(job)
                    return list(running.values())
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                if not future.cancelled() and isinstance(future.exception(), BrokenExecutor):
                    broken.append(job)
                else:
                    yield _outcome(study, job, future)
            if broken:
                return broken + list(running.values())
    return []


def _outcome(study: Study, job: Job, future: Future[tuple[Result, ...]]) -> tuple[Result, ...]:
    try:
        return future.result()
    except CancelledError:
        raise UserError(
            "--scheduler: the connection to the cluster was lost; what is done is kept: run the "
            "same command again"
        ) from None
    except Exception as error:  # of the cluster: workers that were killed, results that are lost
        return failures(study, job, describe(error))


def _alone(pool: Pool) -> Pool:
    return replace(pool, workers=1) if isinstance(pool, Processes) else pool


class Progress(Protocol):
    """Told how far a study is."""

    def __call__(self, done: int, total: int, latest: tuple[Result, ...]) -> None:
        """`done` of `total` results are in the file; `latest` came with the last job."""


def run_study(
    study: Study,
    plan: Plan,
    output: str | os.PathLike[str],
    header: Header,
    pool: Pool,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> tuple[Result, ...]:
    """All results of the file `output` at the end, in the order of the plan.

    Results that the file holds already are kept, failed ones too unless `retry_failed`. Whatever
    interrupts this, the file stays whole, and the same call goes on from there.
    FileError if the file is another study's or cannot be written.
    """
    items = tuple(plan.items())
    with open_store(output, header) as store:
        held = {r.key for r in store.results() if not (retry_failed and r.error is not None)}
        missing = [item for item in items if item.key not in held]
        done, total = len(items) - len(missing), len(items)
        if progress is not None:
            progress(done, total, ())
        with closing(run_jobs(pool, study, jobs(missing))) as finished:
            for results in finished:
                for result in results:
                    store.add(result)
                done += len(results)
                if progress is not None:
                    progress(done, total, results)
        return store.finish(plan.networks)
