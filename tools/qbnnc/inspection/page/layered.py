"""A layered drawing's places: ranks, orders within them, and x of each box.

Source: Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system
structures", IEEE Transactions on Systems, Man and Cybernetics 11(2), 1981. The same places for the
same graph on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_SWEEPS = 12


@dataclass(frozen=True, slots=True)
class Layout:
    """`rank` and `x` of each box, and the way of each edge: (x, rank), from its start to its end.

    x is the middle of a box, from 0 on.
    """

    rank: tuple[int, ...]
    x: tuple[float, ...]
    ways: tuple[tuple[tuple[float, int], ...], ...]


def layered(count: int, edges: Sequence[tuple[int, int]], box: float, line: float) -> Layout:
    """Lay out boxes 0..count-1, each edge from a lower number to a higher one.

    `box` and `line` are the widths, with their margins, of a box and of an edge that passes.
    """
    rank = _ranks(count, edges)
    widths, chains, ranks = [box] * count, list[list[int]](), list(rank)
    for start, end in edges:
        inner = range(len(widths), len(widths) + rank[end] - rank[start] - 1)
        ranks += range(rank[start] + 1, rank[end])
        widths += [line] * len(inner)
        chains.append([start, *inner, end])
    above, below = _neighbours(len(widths), chains)
    rows = _ordered(ranks, above, below)
    x = _places(rows, widths, above, below)
    left = min((x[i] - widths[i] / 2 for i in range(len(x))), default=0.0)
    x = [place - left for place in x]
    ways = tuple(tuple((x[i], ranks[i]) for i in chain) for chain in chains)
    return Layout(tuple(rank), tuple(x[:count]), ways)


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest path to each box; one without inputs stands right above its first reader."""
    rank, entered = [0] * count, {end for _, end in edges}
    for start, end in sorted(edges):
        rank[end] = max(rank[end], rank[start] + 1)
    for box in range(1, count):
        readers = [rank[end] for start, end in edges if start == box]
        if box not in entered and readers:
            rank[box] = max(0, min(readers) - 1)
    return rank


def _neighbours(count: int, chains: Sequence[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for chain in chains:
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    return above, below


def _ordered(
    ranks: Sequence[int], above: list[list[int]], below: list[list[int]]
) -> list[list[int]]:
    """The boxes of each rank from left to right, by the means of their neighbours' places."""
    rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
    for item, rank in enumerate(ranks):
        rows[rank].append(item)
    place = [0.0] * len(ranks)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        near = above if down else below
        for row in rows if down else reversed(rows):
            for i, item in enumerate(row):
                place[item] = float(i)
            row.sort(key=lambda item: _mean([place[n] for n in near[item]], place[item]))
            for i, item in enumerate(row):
                place[item] = float(i)
    return rows


def _places(
    rows: Sequence[list[int]],
    widths: Sequence[float],
    above: list[list[int]],
    below: list[list[int]],
) -> list[float]:
    x = [0.0] * len(widths)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_mean([x[n] for n in (*above[i], *below[i])], x[i]) for i in row]
            gaps = [(widths[a] + widths[b]) / 2 for a, b in pairwise(row)]
            for item, place in zip(row, apart(wanted, gaps), strict=True):
                x[item] = place
    return x


def apart(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The places nearest to `wanted`, in squares, that lie at least `gaps` apart in this order.

    Source: the pool-adjacent-violators algorithm, on places less the gaps before them.

    >>> apart([0, 0], [2]), apart([0, 9], [2])
    ([-1.0, 1.0], [0.0, 9.0])
    """
    before = [0.0]
    for gap in gaps:
        before.append(before[-1] + gap)
    pools: list[tuple[float, int]] = []  # sum and count
    for place, offset in zip(wanted, before, strict=False):
        total, count = place - offset, 1
        while pools and pools[-1][0] * count > total * pools[-1][1]:
            total, count = total + pools[-1][0], count + pools[-1][1]
            pools.pop()
        pools.append((total, count))
    level = [total / count for total, count in pools for _ in range(count)]
    return [place + offset for place, offset in zip(level, before, strict=False)]


def _mean(numbers: Sequence[float], otherwise: float) -> float:
    return sum(numbers) / len(numbers) if numbers else otherwise
