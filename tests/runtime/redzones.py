"""Plans whose buffers lie apart, with bytes between them that show who touched them.

A program is run twice, with other bytes wherever nothing was written: between buffers, in buffers,
around constants, input and outputs. What reads a byte that is not its own gives other outputs the
second time; what writes one is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.types import Axis
from qbnnc.runtime.arena import Arena, allocate
from qbnnc.runtime.cache import kernels
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.jobs import job
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import aligned_bytes
from qbnnc.runtime.plan import Draft, Plan, draft, finish, memory_of
from qbnnc.runtime.schedule import schedule
from qbnnc.runtime.verifier import Memory, verify

ZONE = 1 << 16  # bytes before and after each buffer


@dataclass(frozen=True, slots=True, eq=False)
class Apart:
    """A plan with red zones, and its memory as the verifier knows it."""

    made: Draft
    plan: Plan
    memory: Memory

    def refusal(self, program: NDArray[np.int64]) -> str | None:
        """Return the verifier's reason against a program in place of the plan's own, or None."""
        found = verify(program, self.plan.ends.tolist(), self.plan.constants, self.memory)
        return None if found is None else found[1]


def apart(graph: Graph, masked: MaskedForm | None = None) -> Apart:
    """Plan a graph with every buffer in a place of its own; `masked` is forced if it is given."""
    made = draft(Lowering(graph, masked=masked), graph.nodes)
    arena = _spread(allocate(made.steps, 1 << 12))  # several blocks of a few rows or samples
    plan = finish(made, arena, made.lowering.constants.pack())
    return Apart(made, plan, memory_of(made.lowering, arena, len(made.steps)))


def _spread(arena: Arena) -> Arena:
    """Move slots apart, with zones between them; records stay where they are."""
    slots, offset = [], ZONE
    operands = dict(arena.operands)
    for slot in arena.slots:
        slots.append(replace(slot, offset=offset))
        operands[slot.buffer] = replace(operands[slot.buffer], offset=offset)
        offset += slot.nbytes + ZONE
    for buffer in arena.kept:
        moved = operands[buffer].offset - arena.scratch_bytes + offset
        operands[buffer] = replace(operands[buffer], offset=moved)
    return replace(arena, slots=tuple(slots), operands=operands, scratch_bytes=offset)


def run(
    apart: Apart, program: NDArray[np.int64], x: NDArray[np.float32], draws: int, poison: int
) -> tuple[NDArray[np.float32], bool]:
    """Run a program; return (outputs [numbers], whether the zones are intact)."""
    plan, rows, chunk = apart.plan, len(x), min(len(x), 3)
    constants = _poisoned(plan.constants.size, poison)
    constants[ZONE:-ZONE] = plan.constants
    size = rows * draws * plan.size
    out, whole_x = (_poisoned(4 * n, poison) for n in (size, x.size))
    whole_x[ZONE:-ZONE] = x.reshape(-1).view(np.uint8)
    arena = _poisoned(plan.arena_bytes(chunk), poison)
    changed = replace(plan, program=program, constants=constants[ZONE:-ZONE])
    table = schedule(changed, range(rows), range(draws), chunk)
    jobs = np.array([job(changed, table, 0, 1, rows, draws)], np.int64)
    real = whole_x[ZONE:-ZONE].view(np.float32)
    real.flags.writeable = False
    numbers = out[ZONE:-ZONE].view(np.float32)
    kernels().execute(jobs, 7, 0, real, arena[ZONE:-ZONE], numbers)
    used = np.zeros(arena.size, np.bool_)
    for slot in plan.arena.slots:
        used[ZONE + slot.offset : ZONE + slot.offset + slot.nbytes] = True
    first = ZONE + plan.arena.scratch_bytes
    used[first : first + chunk * plan.arena.record_bytes] = True
    apart_from = (constants, whole_x, out)
    ends_intact = all(
        (a[:ZONE] == poison).all() and (a[-ZONE:] == poison).all() for a in apart_from
    )
    return numbers.copy(), bool((arena[~used] == poison).all()) and ends_intact


def written(apart: Apart, draws: int, rows: int) -> NDArray[np.bool_]:
    """Tell for each number of the outputs whether the program writes it: it writes no copies."""
    made = list[NDArray[np.bool_]]()
    for i, type_ in enumerate(apart.plan.outputs):
        mask = np.full((draws, rows, type_.size), i not in apart.plan.copied)
        mask[0 if Axis.SAMPLE in type_.axes else 1 :] &= Axis.SAMPLE in type_.axes
        mask[:, 0 if Axis.ROW in type_.axes else 1 :] &= Axis.ROW in type_.axes
        made.append(mask.reshape(-1))
    return np.concatenate(made)


def _poisoned(count: int, poison: int) -> NDArray[np.uint8]:
    """Allocate `count` bytes with a zone before and after them, aligned as in the runtime."""
    room = aligned_bytes(count + 2 * ZONE + 64)[: count + 2 * ZONE]
    room[:] = poison
    return room
