"""The regions of an arena: bytes that belong to one value for some steps."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from qbnnc.runtime.verifier.line import Violation


@dataclass(frozen=True, slots=True)
class Region:
    """`nbytes` from `offset`, which belong to one value in the steps first..last.

    With `in_record` the region is part of each row's record, and `offset` is that in the first
    record. `given` says that another program has written it.
    """

    offset: int
    nbytes: int
    first: int
    last: int
    in_record: bool = False
    given: bool = False


class Regions:
    """All regions of an arena; Violation if two overlap that exist at the same time."""

    def __init__(self, regions: Iterable[Region], scratch_bytes: int, record_bytes: int) -> None:
        self._at = dict[int, list[Region]]()
        for region in sorted(regions, key=lambda region: region.first):
            begin, end = (
                (scratch_bytes, scratch_bytes + record_bytes)
                if region.in_record
                else (0, scratch_bytes)
            )
            if (
                region.nbytes < 0
                or not begin <= region.offset <= region.offset + region.nbytes <= end
            ):
                raise Violation(
                    f"bytes {region.offset} to {region.offset + region.nbytes} of a value are not "
                    f"within {begin} to {end}"
                )
            self._at.setdefault(region.offset, []).append(region)
        for some in (False, True):
            _expect_apart([r for at in self._at.values() for r in at if r.in_record is some])
        self._firsts = {offset: [r.first for r in at] for offset, at in self._at.items()}

    def find(self, offset: int, step: int) -> Region:
        """Return the region that begins at `offset` at this step."""
        at = self._at.get(offset, [])
        number = bisect_right(self._firsts.get(offset, []), step) - 1
        if number < 0 or step > at[number].last:
            raise Violation(f"no value begins at byte {offset} of the arena at this step")
        return at[number]


def _expect_apart(regions: Sequence[Region]) -> None:
    """Raise Violation if two regions overlap.

    Regions enter in the order of their first steps. Each is compared with its neighbours.
    """
    there, leaving = list[tuple[int, int]](), list[tuple[int, tuple[int, int]]]()
    for region in sorted((r for r in regions if r.nbytes), key=lambda region: region.first):
        while leaving and leaving[0][0] < region.first:
            _, gone = heappop(leaving)
            there.pop(bisect_right(there, gone) - 1)
        mine = (region.offset, region.offset + region.nbytes)
        insort(there, mine)
        number = bisect_right(there, mine) - 1
        for other in there[max(0, number - 1) : number] + there[number + 1 : number + 2]:
            if other[0] < mine[1] and mine[0] < other[1]:
                raise Violation(f"two values share byte {max(other[0], mine[0])}")
        heappush(leaving, (region.last, mine))
