"""What all predictions of one size have in common: made once, so that a small one costs little.

A job is a program, its constants and a schedule: one member of an ensemble, some rows, some draws
(kernels.job). A part is what one thread runs in one call. Where members have a trunk in common, its
job for a chunk of rows leaves in the arena what the members' jobs for that chunk read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.kernels.records import JOB, Job
from qbnnc.runtime.outputs import Outputs
from qbnnc.runtime.plan import Plan
from qbnnc.runtime.schedule import Schedule, schedule
from qbnnc.runtime.threads import Task, split
from qbnnc.runtime.trunk import Plans
from qbnnc.runtime.verifier import verify_schedule

_TRUNK = -1  # in place of a member
CHUNK_BYTES = 8 << 20  # of what the prefix leaves to the suffix, for all rows of a chunk


class Size(NamedTuple):
    """Of a prediction: B, L and rows at a time, chosen if None."""

    batch: int
    samples: int
    chunk: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """`jobs` int64 [count, JOB.SIZE], and the bytes of an arena that serves each of them."""

    jobs: NDArray[np.int64]
    arena_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The parts have the addresses of what `plans` and `schedules` own: they are kept with them."""

    parts: tuple[Part, ...]
    outputs: Outputs
    plans: Plans
    schedules: tuple[Schedule, ...]


def prepare(plans: Plans, size: Size, threads: int) -> Prepared:
    """The work on a batch for up to `threads` threads."""
    (trunk, members), (batch, samples, most) = plans, size
    parts, schedules = list[Part](), list[Schedule]()
    for tasks in split(members, batch, samples // len(members), threads, trunk):
        rows, arena_bytes = list[Job](), 0
        for task in tasks if trunk is None else _with_trunk(trunk, tasks, most):
            plan = _plan(plans, task)
            chunk = _chunk(plan, task, most)
            table = schedule(plan, task.rows, task.draws, chunk)
            _expect_inside(plan, table, task, chunk)
            rows.append(job(plan, table, max(task.member, 0), len(members), batch, samples))
            arena_bytes = max(arena_bytes, plan.arena_bytes(chunk))
            schedules.append(table)
        parts.append(Part(np.array(rows, np.int64).reshape(-1, JOB.SIZE), arena_bytes))
    outputs = Outputs(members[0], batch, samples)
    return Prepared(tuple(parts), outputs, plans, tuple(schedules))


def _expect_inside(plan: Plan, table: Schedule, task: Task, chunk: int) -> None:
    """The kernels check nothing: no block may be larger than the plan has room for."""
    capacity = plan.arena.capacity
    size = capacity.rows, capacity.samples, capacity.copies
    if not verify_schedule(table, size, task.rows, task.draws, chunk):
        raise RuntimeError(f"a schedule of {task} leaves the arena; it is not run")


def _with_trunk(trunk: Plan, tasks: Sequence[Task], most: int | None) -> Iterator[Task]:
    """The tasks of one call a chunk of rows at a time, before each chunk the trunk's.

    Chunks are as large as the records allow, which are of one size for all plans.
    """
    for rows, some in groupby(tasks, key=lambda task: task.rows):
        whole = tuple(some)
        for start in rows[:: _chunk(trunk, whole[0], most)]:
            chunk = range(start, min(start + _chunk(trunk, whole[0], most), rows.stop))
            yield Task(_TRUNK, chunk, range(1))
            yield from (replace(task, rows=chunk) for task in whole)


def _plan(plans: Plans, task: Task) -> Plan:
    if task.member == _TRUNK:
        assert plans.trunk is not None
        return plans.trunk
    return plans.members[task.member]


def job(plan: Plan, table: Schedule, member: int, members: int, batch: int, samples: int) -> Job:
    """The record that tells the interpreter to run a plan; `samples` are those of all members."""
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
    """`number` mod 2^64 as the int64 of the same bits."""
    return (number + 2**63) % 2**64 - 2**63


def _chunk(plan: Plan, task: Task, most: int | None) -> int:
    """Rows at a time, so that what the prefix leaves to the suffix stays within CHUNK_BYTES."""
    fit = CHUNK_BYTES // max(1, plan.arena.record_bytes)
    return max(1, min(len(task.rows), fit if most is None else most))
