"""What a plan looks like, for `qbnnc inspect`."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.runtime.arena import Capacity
from qbnnc.runtime.plan import Plan


@dataclass(frozen=True, slots=True)
class Operation:
    """One instruction: what it does, in which range, for which value of the graph."""

    kind: str
    range: str
    name: str


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """Bytes, and the operations in order of execution.

    `scratch_bytes` is shared by buffers over time; no layout takes less than `lower_bound`.
    `row_bytes` is kept for each row of a chunk between prefix and suffix.
    """

    scratch_bytes: int
    lower_bound: int
    row_bytes: int
    constants_bytes: int
    capacity: Capacity
    operations: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [
            f"arena {self.scratch_bytes} bytes (at least {self.lower_bound}) "
            f"+ {self.row_bytes} a row, constants {self.constants_bytes} bytes",
            f"blocks of {self.capacity.rows} rows, {self.capacity.copies} copies",
        ]
        lines += [f"{o.range:7} {o.kind:11} {o.name}" for o in self.operations]
        return "\n".join(lines)


def summarize(plan: Plan) -> PlanSummary:
    arena = plan.arena
    return PlanSummary(
        scratch_bytes=arena.scratch_bytes,
        lower_bound=arena.lower_bound,
        row_bytes=arena.record_bytes,
        constants_bytes=plan.constants.nbytes,
        capacity=arena.capacity,
        operations=tuple(
            Operation(s.instruction.opcode.name.lower(), s.range.name.lower(), s.name)
            for s in plan.steps
        ),
    )
