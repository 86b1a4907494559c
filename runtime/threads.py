"""Predictions on several cores, which compute members, samples or rows of a batch in parallel.

Random numbers belong to a seed, a sample and a row, and every task writes samples of its own. So
the split changes no bit. A task runs outside Python's lock, in an arena of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Lock, Thread
from typing import TypeVar
from weakref import finalize

from qbnnc.runtime.plan import Plan

_CALLS = 4  # for each thread, if that costs nothing: threads are not equally fast
_ROWS = 16  # at least, for such a call of all members
_COPIES = 64  # rows times samples, at least, for such a call of one member
_REPEATED = 0.02  # of the work, at most, that is done again because there are so many calls
_CACHED = 1 << 20  # bytes of weights that stay in the second-level cache between predictions
_BYTES_PER_SECOND = 10e9  # of weights that do not, for one core
WORTH = 200e-6  # seconds of work for each thread, which takes some 25 microseconds to wake

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
    common = 0.0 if trunk is None else trunk.time.of(batch, 0)
    work = common + sum(plan.time.of(batch, draws) for plan in plans) + _reading(plans)
    useful = int(min(threads, work // WORTH))
    if useful <= 1 or not batch:
        return [whole]
    if batch >= useful and common > draws * sum(plan.time.sample for plan in plans):
        count = max(useful, min(_CALLS * useful, batch // _ROWS))
        parts = _ranges(range(batch), count)
        return [[replace(task, rows=rows) for task in whole] for rows in parts]
    each = -(-useful // len(plans))
    tasks = [part for task in whole for part in _parts(task, plans[task.member], each, work)]
    return [[tasks[i] for i in some] for some in _ranges(range(len(tasks)), _CALLS * useful)]


def _reading(plans: Sequence[Plan]) -> float:
    """Estimate the seconds in which weights come from memory, once for each prediction."""
    size = sum(plan.constant_bytes for plan in plans)
    return size / _BYTES_PER_SECOND if size > _CACHED else 0.0


def _parts(task: Task, plan: Plan, count: int, work: float) -> Iterator[Task]:
    """Split a task into `count` parts or more, by samples or by rows, as far as there are any."""
    rows, draws = len(task.rows), len(task.draws)
    by_draws = draws >= count and (plan.time.sample > 0 or rows < count)
    if count > 1:
        again = rows * plan.time.row if by_draws else draws * plan.time.sample
        most = count * min(_CALLS, int(work / WORTH) // count, rows * draws // _COPIES // count)
        count = max(count, most) if again * most < _REPEATED * work else count
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
    """Threads that start with their first task, and sleep while there is none.

    Predictions at once share them. A prediction that finds none asleep uses its caller's alone.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._lock, self._process = Lock(), os.getpid()
        self._asleep, self._made = list[_Helper](), 0
        finalize(self, _end, self._asleep)

    def run(self, tasks: Sequence[Item], work: Callable[[Item], None]) -> None:
        """Run all tasks, some of them in the caller's thread; raise errors when all are done."""
        queue, errors = iter(tasks), list[BaseException]()

        def share() -> None:
            try:
                while (task := self._next(queue)) is not None:
                    work(task)
            except BaseException as error:  # of any kind: the caller's thread raises it
                errors.append(error)

        ends = [helper.start(share) for helper in self._wake(min(self.threads, len(tasks)) - 1)]
        share()
        for end in ends:
            end.acquire()  # helpers write to the caller's arrays
        if errors:
            raise errors[0]

    def _next(self, queue: Iterator[Item]) -> Item | None:
        with self._lock:
            return next(queue, None)

    def _wake(self, count: int) -> list[_Helper]:
        """Take up to `count` helpers that sleep; make them if there are fewer than allowed."""
        with self._lock:
            if self._process != os.getpid():  # a fork has no threads
                self._asleep.clear()
                self._made, self._process = 0, os.getpid()
            while len(self._asleep) < count and self._made < self.threads - 1:
                self._asleep.append(_Helper(self._asleep))
                self._made += 1
            return [self._asleep.pop() for _ in range(min(count, len(self._asleep)))]


class _Helper:
    """A thread that sleeps until it is given a task, and then enters itself as asleep again.

    A lock wakes it: an executor's futures take five times as long.
    """

    def __init__(self, asleep: list[_Helper]) -> None:
        self._go, self._asleep = Lock(), asleep
        self._task: tuple[Callable[[], None], Lock] | None = None
        self._go.acquire()
        Thread(target=self._loop, name="qbnnc", daemon=True).start()

    def start(self, task: Callable[[], None]) -> Lock:
        """Run a task that raises nothing; return a lock that is released at its end."""
        end = Lock()
        end.acquire()
        self._task = task, end
        self._go.release()
        return end

    def end(self) -> None:
        """Let the thread end."""
        self._task = None
        self._go.release()

    def _loop(self) -> None:
        while self._go.acquire() and self._task is not None:
            task, end = self._task
            task()
            self._task = None
            del task  # which refers to arrays of its prediction
            self._asleep.append(self)
            end.release()


def _end(asleep: list[_Helper]) -> None:
    """End the threads of a pool that nobody refers to any more: all of them sleep."""
    while asleep:
        asleep.pop().end()


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
