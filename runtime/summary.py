"""What a plan looks like: for `qbnnc inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qbnnc.runtime.arena import Capacity
from qbnnc.runtime.program import Phase
from qbnnc.runtime.threads import Task, split
from qbnnc.runtime.trunk import Plans


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction: what it does, in which range and form, for which value of the graph.

    `share` is its part of what a prediction takes, by the planner's estimate; `nbytes` its output
    for each copy.
    """

    kind: str
    phase: str
    name: str
    form: str
    nbytes: int
    share: float


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """Of one member: bytes, and the operations in order of execution, for a batch and L.

    Operations of the range "trunk" are run once for all members.

    `scratch_bytes` is shared by buffers over time; no layout takes less than `lower_bound`, what is
    needed at the worst step. `row_bytes` is kept for each row of a chunk between prefix and suffix.
    `work` is what a prediction takes in multiplications of a convolution, by the estimate, and
    `calls` what each thread's calls do, of all members.
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
    """Of the plan of `member`, after the trunk if there is one."""
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
    """ "members 0..4, rows 0..31, samples 0..19"; samples are those of a member."""
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
