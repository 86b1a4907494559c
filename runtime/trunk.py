"""Plans of an ensemble whose members begin alike: a trunk that runs once, then each member's part.

The trunk is a program of its own, of the values that all members compute from the row alone
(`qbnnc.ir.sharing`). Members read its results in the records of the arena, at the same place for
all of them. So a thread runs the trunk for a chunk of rows, then the members in the same arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.sharing import common_values
from qbnnc.ir.types import PER_ROW, DType
from qbnnc.runtime.arena import allocate, in_one
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import Constants
from qbnnc.runtime.plan import Draft, Plan, draft, finish
from qbnnc.runtime.program import Buffer
from qbnnc.support.errors import CompileError, Loc

WORTH = 0.05  # of a member's work for a row; a smaller trunk is not worth a program of its own


class Plans(NamedTuple):
    """The plans of a model; with a trunk, the plans of the members leave it out."""

    trunk: Plan | None
    members: tuple[Plan, ...]

    @property
    def constant_bytes(self) -> int:
        """The bytes of the constants of all programs, in which equal ones are once."""
        return self.members[0].constants.nbytes


def plan_members(
    members: Sequence[Graph],
    draws: int,
    budget: int | None = None,
    masked: MaskedForm | None = None,
) -> Plans:
    """Plan all members, and what they have in common once.

    `masked` is the form of layers under a dropout mask where it exists; None chooses it.
    Raises CompileError if members differ in their input or outputs, which share one array.
    """
    _expect_alike(members)
    trunk = None if len(members) == 1 else _trunk(members, draws, masked)
    if trunk is None:
        constants = Constants()
        lowered = (
            Lowering(member, draws, constants=constants, masked=masked) for member in members
        )
        drafts = [draft(lowering, lowering.graph.nodes) for lowering in lowered]
        arenas = [allocate(made.steps, made.block_bytes(budget)) for made in drafts]
    else:
        drafts, shared = trunk
        places = (allocate(made.steps, made.block_bytes(budget), shared=shared) for made in drafts)
        arenas = [*in_one(tuple(places))]
    packed = drafts[0].lowering.constants.pack()
    plans = [finish(made, arena, packed) for made, arena in zip(drafts, arenas, strict=True)]
    return Plans(None, tuple(plans)) if trunk is None else Plans(plans[0], tuple(plans[1:]))


def _expect_alike(members: Sequence[Graph]) -> None:
    """Raise CompileError if inputs or outputs of the members have different shapes."""
    first, *others = ([m.input.type.shape, *(v.type.shape for v in m.outputs)] for m in members)
    for number, shapes in enumerate(others, 1):
        if shapes != first:
            raise CompileError(
                f"member {number} has an input or outputs of shapes {shapes}, member 0 of {first}",
                Loc("the ensemble"),
                remedy="all members of an ensemble need the same",
            )


def _trunk(
    members: Sequence[Graph], draws: int, masked: MaskedForm | None
) -> tuple[list[Draft], list[Buffer]] | None:
    """Draft the trunk and each member's own part; None if the trunk is too small.

    Returns the drafts, the trunk's first, and the buffers that the trunk leaves to the members.
    """
    common, graph = [_codes(values) for values in common_values(members)], members[0]
    inside = [node for node in graph.nodes if node.output in common[0]]
    read = {v for node in graph.nodes if node.output not in common[0] for v in node.inputs}
    left = [node.output for node in inside if node.output in read]
    if not left:
        return None
    constants = Constants()
    trunk = draft(Lowering(graph, draws, left=left, constants=constants), inside)
    buffers = {value: trunk.lowering.buffers[value] for value in left}
    drafts = [trunk]
    for member, shared in zip(members, common, strict=True):
        given = {mine: buffers[value] for mine, value in shared.items() if value in buffers}
        own = (node for node in member.nodes if node.output not in shared)
        lowering = Lowering(member, draws, given=given, constants=constants, masked=masked)
        drafts.append(draft(lowering, own))
        if len(drafts) == 2 and trunk.work.row < WORTH * _work(drafts, draws):
            return None
    return drafts, list(dict.fromkeys(buffers.values()))


def _codes(common: dict[Value, Value]) -> dict[Value, Value]:
    """Leave out float32 values: each member writes outputs of its own."""
    return {
        mine: value
        for mine, value in common.items()
        if value.type.axes == PER_ROW and value.type.dtype is not DType.F32
    }


def _work(drafts: Sequence[Draft], draws: int) -> float:
    """Return the cost of one more row of a batch."""
    return sum(made.work.row + draws * made.work.copy for made in drafts)
