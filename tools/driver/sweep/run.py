"""A study from its plan to its file: what is missing is computed, what is there is kept."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Protocol

from qbnnc.sweep.executors import Pool
from qbnnc.sweep.plan import Plan, jobs
from qbnnc.sweep.rows import Header, Result
from qbnnc.sweep.schedule import run_jobs
from qbnnc.sweep.store import open_store
from qbnnc.sweep.study import Study


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
