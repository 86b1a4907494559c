"""The order in which an einsum of many operands multiplies them: two at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import prod
from typing import NamedTuple


class Pair(NamedTuple):
    """Two operands by their numbers, and the letters of their product."""

    first: int
    second: int
    letters: str


def next_pair(
    letters: Sequence[str], rows: Sequence[bool], out: str, extents: Mapping[str, int]
) -> Pair:
    """Choose the two operands whose product costs least, the first of equal ones.

    `rows` tells which operands are computed from the input: one of the two is.
    The cost is the number of multiplications. The product keeps letters of the result or of
    another operand, in the order of the result, and those that the result lacks behind them.
    """

    def cost(pair: tuple[int, int]) -> int:
        return prod(extents[c] for c in {*letters[pair[0]], *letters[pair[1]]})

    pairs = ((a, b) for a, b in combinations(range(len(letters)), 2) if rows[a] or rows[b])
    first, second = min(pairs, key=cost)
    others = (own for i, own in enumerate(letters) if i not in (first, second))
    return Pair(first, second, _kept(letters[first] + letters[second], out, others))


def _kept(both: str, out: str, others: Iterable[str]) -> str:
    read = set(out).union(*others)
    kept = [c for c in dict.fromkeys(both) if c in read]
    return "".join([c for c in out if c in kept] + [c for c in kept if c not in out])
