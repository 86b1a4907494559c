"""Descriptions of plans, which `qbnnc inspect` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qbnnc.runtime.arena import Capacity
from qbnnc.runtime.program import Phase
from qbnnc.runtime.threads import Task, split
from qbnnc.runtime.trunk import Plans


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction: its kind, phase and form, and the value of the graph that it makes.

    `share` is its part of the time of a prediction, by the planner's estimate. `nbytes` is the size
    of its output for each copy.
    """

    kind: str
    phase: str
    name: str
    form: str
    nbytes: int
    share: float


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """The plan of one member for a batch and L: bytes, and operations in order of execution.

    Operations of the phase "trunk" run once for all members.

    Buffers share `scratch_bytes` over time. `lower_bound` is needed at the worst step, so that no
    layout takes less. `row_bytes` are kept for each row of a chunk between prefix and suffix.
    `work` estimates a prediction, in multiplications of a convolution. `calls` describe the calls
    of the threads, for all members.
    """

    batch: int
    samples: int
    scratch_bytes: int
    lower_bound: int
    row_bytes: int
    constants_bytes: int
    capacity: Capacity
    work: float
    calls: tuple[str, ...]
    operations: tuple[Operation, ...]


def summarize(plans: Plans, member: int, batch: int, samples: int, threads: int) -> PlanSummary:
    """Describe the trunk, if there is one, and the plan of `member`."""
    trunk, members = plans
    plan, draws = members[member], samples // len(members)
    common = () if trunk is None else trunk.steps
    steps = [("trunk", s) for s in common] + [(s.phase.name.lower(), s) for s in plan.steps]
    arena, times = plan.arena, {
        Phase.PREFIX: batch,
        Phase.SAMPLE: draws,
        Phase.SUFFIX: batch * draws,
    }  # fmt: skip
    work = plan.work.of(batch, draws) + (0.0 if trunk is None else trunk.work.of(batch, 0))
    return PlanSummary(
        batch=batch,
        samples=samples,
        scratch_bytes=arena.scratch_bytes,
        lower_bound=arena.lower_bound,
        row_bytes=arena.record_bytes,
        constants_bytes=plan.constant_bytes + (0 if trunk is None else trunk.constant_bytes),
        capacity=arena.capacity,
        work=work,
        calls=tuple(_call(tasks) for tasks in split(members, batch, draws, threads, trunk)),
        operations=tuple(
            Operation(
                s.instruction.name(),
                range_,
                s.name,
                s.instruction.form,
                s.instruction.output.stride,
                s.instruction.work * times[s.phase] / max(work, 1.0),
            )
            for range_, s in steps
        ),
    )


def _call(tasks: Sequence[Task]) -> str:
    """Describe a call: "members 0..4, rows 0..31, samples 0..19"; samples are those of a member."""
    first, last = tasks[0], tasks[-1]
    ranges = {
        "member": range(first.member, last.member + 1),
        "row": range(first.rows.start, last.rows.stop),
        "sample": range(first.draws.start, last.draws.stop),
    }
    return ", ".join(_numbers(name, some) for name, some in ranges.items())


def _numbers(name: str, some: range) -> str:
    if len(some) == 1:
        return f"{name} {some[0]}"
    return f"{name}s {some.start}..{some.stop - 1}" if some else f"no {name}s"
