"""Cases of a test that are tried before every commit, and those of the full set alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import pytest
from hypothesis import settings

MANY = 100  # what hypothesis makes where nothing is said


def examples(count: int) -> settings:
    """`count` of them, or as much fewer as the profile has (tests/conftest.py); at least 5."""
    return settings(max_examples=max(5, count * settings().max_examples // MANY))


def few_of_each(items: Sequence[pytest.Item]) -> set[pytest.Item]:
    """The tests without those that `@pytest.mark.few(n)` leaves out.

    The mark keeps n cases of a test function, evenly spaced from the first to the last. With 0 it
    leaves out a test that has no cases.
    """
    families = dict[str, list[pytest.Item]]()
    for item in items:
        families.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = set[pytest.Item]()
    for cases in families.values():
        mark = cases[0].get_closest_marker("few")
        count = min(len(cases), len(cases) if mark is None else mark.args[0])
        kept |= {cases[n * (len(cases) - 1) // max(1, count - 1)] for n in range(count)}
    return kept


def slow_but(quick: Collection[object], cases: Iterable[object]) -> list[object]:
    """The cases of a parameter, all of them slow but the `quick` ones."""
    return [c if c in quick else pytest.param(c, marks=pytest.mark.slow) for c in cases]


def nightly_but(slow: Collection[object], cases: Iterable[object]) -> list[object]:
    """The cases of a parameter, for `make nightly` alone but for the `slow` ones."""
    marks = {True: pytest.mark.slow, False: pytest.mark.nightly}
    return [pytest.param(case, marks=marks[case in slow]) for case in cases]
