"""The rooms of an arena: which bytes belong to which value, and when."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from qbnnc.runtime.verifier.line import Violation


@dataclass(frozen=True, slots=True)
class Room:
    """`nbytes` from `offset`, for one value in the steps first..last.

    With `in_record` it is part of each row's record, and `offset` is that in the first record.
    `given`: another program has written it.
    """

    offset: int
    nbytes: int
    first: int
    last: int
    in_record: bool = False
    given: bool = False


class Rooms:
    """All rooms of an arena; Violation if two overlap that are there at the same time."""

    def __init__(self, rooms: Iterable[Room], scratch_bytes: int, record_bytes: int) -> None:
        self._at = dict[int, list[Room]]()
        for room in sorted(rooms, key=lambda room: room.first):
            begin, end = (
                (scratch_bytes, scratch_bytes + record_bytes)
                if room.in_record
                else (0, scratch_bytes)
            )
            if room.nbytes < 0 or not begin <= room.offset <= room.offset + room.nbytes <= end:
                raise Violation(
                    f"bytes {room.offset} to {room.offset + room.nbytes} of a value are not within "
                    f"{begin} to {end}"
                )
            self._at.setdefault(room.offset, []).append(room)
        for some in (False, True):
            _expect_apart([r for at in self._at.values() for r in at if r.in_record is some])
        self._firsts = {offset: [r.first for r in at] for offset, at in self._at.items()}

    def find(self, offset: int, step: int) -> Room:
        """The room that begins at `offset` at this step."""
        at = self._at.get(offset, [])
        number = bisect_right(self._firsts.get(offset, []), step) - 1
        if number < 0 or step > at[number].last:
            raise Violation(f"byte {offset} of the arena is the begin of no value")
        return at[number]


def _expect_apart(rooms: Sequence[Room]) -> None:
    """Rooms enter in the order of their first steps; neighbours among those there are compared."""
    there, leaving = list[tuple[int, int]](), list[tuple[int, tuple[int, int]]]()
    for room in sorted((r for r in rooms if r.nbytes), key=lambda room: room.first):
        while leaving and leaving[0][0] < room.first:
            _, gone = heappop(leaving)
            there.pop(bisect_right(there, gone) - 1)
        mine = (room.offset, room.offset + room.nbytes)
        insort(there, mine)
        number = bisect_right(there, mine) - 1
        for other in there[max(0, number - 1) : number] + there[number + 1 : number + 2]:
            if other[0] < mine[1] and mine[0] < other[1]:
                raise Violation(f"two values share bytes {max(other[0], mine[0])} and on")
        heappush(leaving, (room.last, mine))
