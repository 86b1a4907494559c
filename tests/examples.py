"""Cases of a test that are tried before every commit, usually, and at night alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import settings

QUICK, USUAL, MANY = 10, 40, 100  # examples of a property: make check, test and nightly
_GOLDEN = 0.618_034  # its multiples modulo 1 lie evenly in [0, 1)


def examples(count: int) -> settings:
    """`count` of them, or as much fewer as the profile has (tests/conftest.py); at least 5."""
    return settings(max_examples=max(5, count * settings().max_examples // MANY))


def few_of_each(items: Sequence[pytest.Item], mark: str) -> set[pytest.Item]:
    """The tests without those that `@pytest.mark.few(n)`, or another `mark`, leaves out.

    The mark keeps n cases of a test function. `few` takes the first, the last, and some evenly
    between them; with 0 it leaves out a test that has no cases.
    """
    families = dict[str, list[pytest.Item]]()
    for item in items:
        families.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = set[pytest.Item]()
    for cases in families.values():
        found = cases[0].get_closest_marker(mark)
        count = min(len(cases), len(cases) if found is None else found.args[0])
        places = evenly if mark == "few" else scattered
        kept |= {cases[place] for place in places(count, len(cases))}
    return kept


def evenly(count: int, total: int) -> list[int]:
    """The first, the last, and `count` - 2 places between them."""
    return [n * (total - 1) // max(1, count - 1) for n in range(count)]


def scattered(count: int, total: int) -> list[int]:
    """A place in each of `count` equal parts, here and there in its part.

    So the cases of several parameters are met in all combinations, whatever their numbers are.
    """
    ends = [n * total // count for n in range(count + 1)]
    return [
        start + int((n + 1) * _GOLDEN % 1 * (end - start))
        for n, (start, end) in enumerate(pairwise(ends))
    ]


def slow_but(quick: Collection[object], cases: Iterable[object]) -> list[object]:
    """The cases of a parameter, all of them slow but the `quick` ones."""
    return [c if c in quick else pytest.param(c, marks=pytest.mark.slow) for c in cases]


def nightly_but(slow: Collection[object], cases: Iterable[object]) -> list[object]:
    """The cases of a parameter, for `make nightly` alone but for the `slow` ones."""
    marks = {True: pytest.mark.slow, False: pytest.mark.nightly}
    return [pytest.param(case, marks=marks[case in slow]) for case in cases]
