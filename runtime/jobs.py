"""What all predictions of one size have in common: made once, so that a small one costs little.

A job is a program, its constants and a schedule: one member of an ensemble, some rows, some draws
(kernels.job). A part is what one thread runs in one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qbnnc.runtime.kernels import job as JOB
from qbnnc.runtime.outputs import Outputs
from qbnnc.runtime.plan import Plan
from qbnnc.runtime.schedule import Schedule, schedule
from qbnnc.runtime.threads import Task, split

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
    plans: tuple[Plan, ...]
    schedules: tuple[Schedule, ...]


def prepare(plans: Sequence[Plan], size: Size, threads: int) -> Prepared:
    """The work on a batch for up to `threads` threads."""
    batch, samples, most = size
    parts, schedules = list[Part](), list[Schedule]()
    for tasks in split(plans, batch, samples // len(plans), threads):
        rows, arena_bytes = list[list[int]](), 0
        for task in tasks:
            plan, chunk = plans[task.member], _chunk(plans[task.member], task, most)
            table = schedule(plan, task.rows, task.draws, chunk)
            rows.append(job(plan, table, task.member, len(plans), batch, samples))
            arena_bytes = max(arena_bytes, plan.arena_bytes(chunk))
            schedules.append(table)
        parts.append(Part(np.array(rows, np.int64).reshape(-1, JOB.SIZE), arena_bytes))
    outputs = Outputs(plans[0], batch, samples)
    return Prepared(tuple(parts), outputs, tuple(plans), tuple(schedules))


def job(
    plan: Plan, table: Schedule, member: int, members: int, batch: int, samples: int
) -> list[int]:
    """One row, in the order of kernels.job; `samples` are those of all members."""
    return [
        member,
        members,
        batch,
        samples,
        plan.program.ctypes.data,
        len(plan.program),
        plan.ends.ctypes.data,
        table.ctypes.data,
        len(table),
        plan.constants.ctypes.data,
        plan.constants.size,
    ]


def signed(number: int) -> int:
    """`number` mod 2^64 as the int64 of the same bits."""
    return (number + 2**63) % 2**64 - 2**63


def _chunk(plan: Plan, task: Task, most: int | None) -> int:
    """Rows at a time, so that what the prefix leaves to the suffix stays within CHUNK_BYTES."""
    fit = CHUNK_BYTES // max(1, plan.arena.record_bytes)
    return max(1, min(len(task.rows), fit if most is None else most))
