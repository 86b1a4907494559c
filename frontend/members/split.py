"""Members of an ensemble from one module, each beside the module that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qbnnc.frontend.convert.member_axes import MemberAxes
from qbnnc.frontend.ensemble import Member, check_same_network
from qbnnc.frontend.members.apart import named_like, of_member, with_own_streams
from qbnnc.support.errors import CompileError


def split(member: Member) -> tuple[Member, ...]:
    """The members that a network consists of, or itself if its outputs have no such axis.

    CompileError: what looks like members are parts of one network, such as steps of a sequence.
    """
    traced = member.reference.traced
    axes = traced.members
    if axes is None:
        return (member,)
    found = [
        of_member(traced.graph, [axis is not None for axis in axes.axes], axes.count, index)
        for index in range(axes.count)
    ]
    if not axes.told and any(each.mixed for each in found):
        raise _no_members(axes, "they are parts of what one network computes")
    members = list[Member]()
    for index, each in enumerate(found):
        graph, draws = with_own_streams(each, traced.draws)
        graph = named_like(graph, members[0].graph) if members else graph
        own = replace(traced, graph=graph, draws=draws)
        name = f"{member.name}[{index}]" if member.name else f"member {index}"
        reference = replace(member.reference, traced=own, member=index, name=name)
        members.append(replace(member, name=name, graph=graph, reference=reference))
    _check_alike(members, axes)
    return tuple(members)


def _check_alike(members: Sequence[Member], axes: MemberAxes) -> None:
    try:
        check_same_network(members)
    except CompileError as error:
        if axes.told:
            raise
        raise _no_members(axes, f"they are no members of one network: {error.message}") from error


def _no_members(axes: MemberAxes, why: str) -> CompileError:
    return CompileError(
        f"gives [{axes.count}, batch, ...], whose {axes.count} parts would be the members of an "
        f"ensemble, but {why}",
        "the outputs",
        remedy="to predict all of them for each row, put the batch first: output.transpose(0, 1). "
        "If they are members, say `member_axis=0`",
    )
