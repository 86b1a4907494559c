"""Values that members of an ensemble share, because their graphs begin alike.

Two values are the same if they are the input, if they are equal constants that mean the same, or if
equal ops make them of the same values. Nothing random is the same as anything else: members draw
numbers of their own. So shared values vary with the row alone, and are computed once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ops.base import RandomOp
from qbnnc.ir.stored import content_keys
from qbnnc.ir.types import Axis

Shared = dict[Value, tuple[int, Value]]


def shared_values(members: Sequence[Graph]) -> tuple[Shared, ...]:
    """For each member, the computed values that an earlier one computes too.

    Each maps to the number of the first such member and to the value there, which has the same
    place and name.
    """
    if len(members) == 1:
        return ({},)
    known: dict[Hashable, int] = {}
    numbers = [_numbers(graph, known) for graph in members]
    owners: dict[tuple[int, int], tuple[int, Value]] = {}
    found = list[Shared]()
    for member, graph in enumerate(members):
        mine: Shared = {}
        for place, node in enumerate(graph.nodes):
            key = place, numbers[member][node.output]
            owner, value = owners.setdefault(key, (member, node.output))
            if owner < member:
                mine[node.output] = owner, value
        found.append(mine)
    return tuple(found)


def common_values(members: Sequence[Graph]) -> tuple[dict[Value, Value], ...]:
    """For each member, the computed values that all members share, with the first member's."""
    shared = shared_values(members)
    first = set[Value]() if len(members) == 1 else {*members[0].producers()}
    for mine in shared[1:]:
        first &= {value for owner, value in mine.values() if owner == 0}
    own = {value: value for value in members[0].producers() if value in first}
    others = ({v: value for v, (_, value) in mine.items() if value in first} for mine in shared[1:])
    return own, *others


def _numbers(graph: Graph, known: dict[Hashable, int]) -> dict[Value, int]:
    """A number for each value: one for all values that are the same, in any member."""
    keys = content_keys({value.name: array for value, array in graph.constants.items()})
    numbers = {graph.input: known.setdefault(("input", graph.input.type), len(known))}
    for value in graph.constants:
        numbers[value] = known.setdefault((keys[value.name], value.type), len(known))
    for node in graph.nodes:
        same: Hashable = node.op, node.output.type, tuple(numbers[v] for v in node.inputs)
        if isinstance(node.op, RandomOp) or Axis.SAMPLE in node.output.type.axes:
            same = graph, node.output
        numbers[node.output] = known.setdefault(same, len(known))
    return numbers
