"""Predictions on several cores, which compute members, samples or rows of a batch in parallel.

Random numbers belong to a seed, a sample and a row, and every task writes samples of its own. So
the split changes no bit. A task runs outside Python's lock, in an arena of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import TypeVar

from qbnnc.runtime.plan import Plan

_CALLS = 4  # for each thread, if there are as many tasks: threads are not equally fast
_ROWS = 16  # at least, for such a call of all members
WORTH = 20e6  # multiplications that make another thread worth waking: tenths of a millisecond


Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Task:
    """A part of a prediction: one member, rows of the batch and samples of that member (draws)."""

    member: int
    rows: range
    draws: range


def split(
    plans: Sequence[Plan], batch: int, draws: int, threads: int, trunk: Plan | None = None
) -> list[list[Task]]:
    """Split a prediction into the tasks of each call, for up to `threads` threads.

    1. A prediction that is too small for two threads is one call.
    2. With a trunk, rows are split, if there are enough rows and splitting them repeats less work
       than the trunk takes.
    3. Otherwise each member has calls of its own. Samples are split where weights are sampled,
       because each sample's weights are then made once, or where rows are few.
    4. Otherwise rows are split, so that the prefix is computed once for each row.
    """
    whole = [Task(member, range(batch), range(draws)) for member in range(len(plans))]
    common = 0.0 if trunk is None else trunk.work.of(batch, 0)
    work = common + sum(plan.work.of(batch, draws) for plan in plans)
    useful = int(min(threads, work // WORTH))
    if useful <= 1 or not batch:
        return [whole]
    if batch >= useful and common > draws * sum(plan.work.sample for plan in plans):
        count = max(useful, min(_CALLS * useful, batch // _ROWS))
        parts = _ranges(range(batch), count)
        return [[replace(task, rows=rows) for task in whole] for rows in parts]
    each = -(-useful // len(plans))
    tasks = [part for task in whole for part in _parts(task, plans[task.member], each)]
    return [[tasks[i] for i in some] for some in _ranges(range(len(tasks)), _CALLS * useful)]


def _parts(task: Task, plan: Plan, count: int) -> Iterator[Task]:
    """Split a task into up to `count` parts, by samples or by rows."""
    by_draws = len(task.draws) >= count and (plan.work.sample > 0 or len(task.rows) < count)
    for some in _ranges(task.draws if by_draws else task.rows, count):
        if by_draws:
            yield Task(task.member, task.rows, some)
        else:
            yield Task(task.member, some, task.draws)


def _ranges(whole: range, count: int) -> Iterator[range]:
    """Yield up to `count` ranges of about the same length, none of which is empty."""
    ends = [len(whole) * i // count for i in range(count + 1)]
    for start, stop in pairwise(ends):
        if stop > start:
            yield whole[start:stop]


class Workers:
    """Threads that start with their first task, and sleep while there is none."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def run(self, tasks: Sequence[Item], work: Callable[[Item], None]) -> None:
        """Run all tasks, some of them in the caller's thread; raise errors when all are done."""
        if len(tasks) == 1 or self.threads == 1:
            for task in tasks:
                work(task)
            return
        queue, lock = iter(tasks), Lock()

        def share() -> None:
            while True:
                with lock:
                    task = next(queue, None)
                if task is None:
                    return
                work(task)

        helpers = min(self.threads, len(tasks)) - 1
        futures = [self._threads().submit(share) for _ in range(helpers)]
        try:
            share()
        finally:
            wait(futures)  # they write to the caller's arrays
        for future in futures:
            future.result()

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._process != os.getpid():  # a fork has no threads
                self._pool = ThreadPoolExecutor(self.threads - 1, "qbnnc")
                self._process = os.getpid()
            return self._pool


def physical_cores() -> int:
    """Count the physical cores that this process may use."""
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set[int]()
    siblings = set()
    for number in usable:
        file = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        try:
            siblings.add(file.read_text().strip())
        except OSError:
            siblings.add(str(number))
    return len(siblings) or os.cpu_count() or 1
