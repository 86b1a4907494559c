"""The axis of outputs that holds the members of an ensemble inside one module.

[E, B, ...] has the batch as its second axis, so the first is no data of a row: it holds members. In
[B, E, ...] it may be either, and is data unless the user says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.layouts.layout import layout_of, value_of
from qbnnc.frontend.convert.ops.shapes import transposed
from qbnnc.frontend.convert.tracked import Tracked, Transposed
from qbnnc.ir.graph import Value
from qbnnc.support import limits
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True)
class MemberAxes:
    """`count` members, along torch's axis `axes[i]` of output i; None is an output of all members.

    `told` means that the user has named the axis.
    """

    count: int
    axes: tuple[int | None, ...]
    told: bool = False


def member_axes(
    outputs: Sequence[tuple[Call, Tracked] | None], told: int | None
) -> MemberAxes | None:
    """The members of a network with these outputs, of which constants are None.

    `told` is the axis that the user names, if any. CompileError if there is no such axis, or if
    outputs have different numbers of members.
    """
    found = [None if output is None else _axis(*output, told) for output in outputs]
    counts = {
        int(output[0].shape()[axis])
        for output, axis in zip(outputs, found, strict=True)
        if output is not None and axis is not None
    }
    if not counts:
        if told is None:
            return None
        raise CompileError(
            f"no output has an axis {told} beside the batch",
            f"`member_axis` {told}",
            remedy="name the axis of the output that holds the members",
        )
    if len(counts) > 1:
        raise CompileError(
            f"the outputs have {', '.join(map(str, sorted(counts)))} members",
            "the outputs",
            remedy="give each output the same members",
        )
    count = counts.pop()
    if not limits.MEMBERS.least <= count <= limits.MEMBERS.most:
        raise CompileError(
            f"the outputs have {count} members, and at most {limits.MEMBERS.most} are supported",
            "the outputs",
            remedy="compile some of them: index the outputs by a list of numbers",
        )
    return MemberAxes(count, tuple(found), told is not None)


def _axis(call: Call, tracked: Tracked, told: int | None) -> int | None:
    """The axis of the members in one output."""
    if told is None:
        return 0 if isinstance(tracked, Transposed) and tracked.batch == 1 else None
    shape = call.shape()
    axis = told + len(shape) if told < 0 else told
    layout = layout_of(tracked)
    inside = 0 <= axis < len(shape) and axis != layout.axis and not layout.merged
    return axis if inside else None


def members_first(call: Call, tracked: Tracked, axis: int) -> Value:
    """The value of an output with its axis of members in front."""
    value, layout = value_of(call, tracked), layout_of(tracked)
    place = layout.place(axis) - 1
    return value if place == 0 else transposed(call, value, place)
