"""Places of buffers in one piece of memory: two share bytes if they are never needed at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Need:
    """The bytes of a buffer, and the first and the last step that needs it."""

    nbytes: int
    first: int
    last: int


def place(needs: Mapping[T, Need], alignment: int) -> dict[T, int]:
    """Return an offset for each buffer: largest first, at the lowest gap that is free meanwhile.

    Offsets are multiples of `alignment`, and the result has the order of placement.
    Source: Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020,
    greedy by size.
    """
    offsets = dict[T, int]()
    placed = list[tuple[int, int, int, int]]()  # offset, end, first step, last step
    for key, need in sorted(needs.items(), key=lambda item: -item[1].nbytes):
        meanwhile = [p for p in placed if p[2] <= need.last and need.first <= p[3]]
        offset = 0
        for start, end, _, _ in sorted(meanwhile):
            if offset + need.nbytes <= start:
                break
            offset = max(offset, -(-end // alignment) * alignment)
        offsets[key] = offset
        placed.append((offset, offset + need.nbytes, need.first, need.last))
    return offsets
