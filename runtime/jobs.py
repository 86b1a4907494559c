"""Jobs for predictions of one size, made once, so that a small prediction costs little.

A job is a program, its constants and a schedule, for one member, some rows and some samples
(`kernels.records.Job`). A part is the jobs that one thread runs in one call. Members may have a
trunk in common. Then the trunk's job for a chunk of rows leaves values in the arena, and the
members' jobs for that chunk read them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.families.masked_layers.cost import table_bytes
from qbnnc.runtime.kernels.records import JOB, Job
from qbnnc.runtime.outputs import Outputs
from qbnnc.runtime.plan import Plan
from qbnnc.runtime.schedule import Schedule, schedule
from qbnnc.runtime.threads import Task, split
from qbnnc.runtime.trunk import Plans
from qbnnc.runtime.verifier import verify_schedule

_TRUNK = -1  # in place of a member
CHUNK_BYTES = 8 << 20  # of the records that the prefix leaves to the suffix


class Size(NamedTuple):
    """The size of a prediction: B, L and rows at a time, which are chosen if None."""

    batch: int
    samples: int
    chunk: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The jobs of one call: int64 [count, JOB.SIZE], and the bytes of an arena for any of them."""

    jobs: NDArray[np.int64]
    arena_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The parts of a prediction.

    Parts hold addresses of arrays of `plans` and `schedules`, which are therefore kept with them.
    """

    parts: tuple[Part, ...]
    outputs: Outputs
    plans: Plans
    schedules: tuple[Schedule, ...]


def prepare(plans: Plans, size: Size, threads: int) -> Prepared:
    """Split the work on a batch into parts for up to `threads` threads."""
    (trunk, members), (batch, samples, most) = plans, size
    parts, schedules = list[Part](), list[Schedule]()
    for tasks in split(members, batch, samples // len(members), threads, trunk):
        rows, arena_bytes = list[Job](), 0
        for task in tasks if trunk is None else _with_trunk([trunk, *members], tasks, most):
            plan = _plan(plans, task)
            chunk = _chunk([plan], task, most)
            table = schedule(plan, task.rows, task.draws, chunk)
            _expect_inside(plan, table, task, chunk)
            rows.append(job(plan, table, max(task.member, 0), len(members), batch, samples))
            arena_bytes = max(arena_bytes, plan.arena_bytes(chunk))
            schedules.append(table)
        parts.append(Part(np.array(rows, np.int64).reshape(-1, JOB.SIZE), arena_bytes))
    outputs = Outputs(members[0], batch, samples)
    return Prepared(tuple(parts), outputs, plans, tuple(schedules))


def _expect_inside(plan: Plan, table: Schedule, task: Task, chunk: int) -> None:
    """Check that no block is larger than the arena's capacity: the kernels check nothing."""
    capacity = plan.arena.capacity
    size = capacity.rows, capacity.samples, capacity.copies
    if not verify_schedule(table, size, task.rows, task.draws, chunk):
        raise RuntimeError(f"a schedule of {task} leaves the arena; it is not run")


def _with_trunk(plans: Sequence[Plan], tasks: Sequence[Task], most: int | None) -> Iterator[Task]:
    """Yield the tasks of one call, a chunk of rows at a time, each after the trunk's task.

    Chunks are as large as the records allow, which have one size for all plans.
    """
    for rows, some in groupby(tasks, key=lambda task: task.rows):
        whole = tuple(some)
        count = _chunk(plans, whole[0], most)
        for start in rows[::count]:
            chunk = range(start, min(start + count, rows.stop))
            yield Task(_TRUNK, chunk, range(1))
            yield from (replace(task, rows=chunk) for task in whole)


def _plan(plans: Plans, task: Task) -> Plan:
    """Return the plan of a task's member, or of the trunk."""
    if task.member == _TRUNK:
        assert plans.trunk is not None
        return plans.trunk
    return plans.members[task.member]


def job(plan: Plan, table: Schedule, member: int, members: int, batch: int, samples: int) -> Job:
    """Make the record of a job; `samples` counts those of all members."""
    return Job(
        member=member,
        members=members,
        batch=batch,
        samples=samples,
        program=plan.program.ctypes.data,
        steps=len(plan.program),
        ends=plan.ends.ctypes.data,
        schedule=table.ctypes.data,
        blocks=len(table),
        constants=plan.constants.ctypes.data,
        constant_bytes=plan.constants.size,
    )


def signed(number: int) -> int:
    """Return `number` mod 2^64 as the int64 of the same bits."""
    return (number + 2**63) % 2**64 - 2**63


def _chunk(plans: Sequence[Plan], task: Task, most: int | None) -> int:
    """Return the rows of a chunk, whose records stay within bounds.

    The records of all plans have one size. Tables are read for each sample, so that the tables of a
    chunk should stay in the L2 cache.
    """
    tables = any(plan.has_tables for plan in plans)
    fit = (table_bytes() if tables else CHUNK_BYTES) // max(1, plans[0].arena.record_bytes)
    return max(1, min(len(task.rows), fit if most is None else most))
