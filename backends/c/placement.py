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

    Source: Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020,
    greedy by size.
    """
    placed = dict[T, int]()
    for key, need in sorted(needs.items(), key=lambda item: -item[1].nbytes):
        meanwhile = sorted(
            (offset, needs[other].nbytes)
            for other, offset in placed.items()
            if needs[other].first <= need.last and need.first <= needs[other].last
        )
        offset = 0
        for start, nbytes in meanwhile:
            if offset + need.nbytes <= start:
                break
            offset = max(offset, -(-(start + nbytes) // alignment) * alignment)
        placed[key] = offset
    return placed
