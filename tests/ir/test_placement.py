"""Placement: buffers that are needed at once lie apart, and others share bytes."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from qbnnc.ir.placement import Need, place


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9), st.integers(0, 9)), max_size=12),
    st.sampled_from([1, 4, 64]),
)
def test_buffers_that_are_needed_at_once_lie_apart(
    sizes: list[tuple[int, int, int]], alignment: int
) -> None:
    needs = {i: Need(n, min(a, b), max(a, b)) for i, (n, a, b) in enumerate(sizes)}
    offsets = place(needs, alignment)
    assert set(offsets) == set(needs)
    assert all(offset % alignment == 0 and offset >= 0 for offset in offsets.values())
    for i, j in combinations(needs, 2):
        one, other = needs[i], needs[j]
        if one.first <= other.last and other.first <= one.last:
            ends = offsets[i] + one.nbytes, offsets[j] + other.nbytes
            assert ends[0] <= offsets[j] or ends[1] <= offsets[i]


def test_the_largest_is_first_and_a_gap_is_filled() -> None:
    needs = {
        "small": Need(4, 0, 3),
        "large": Need(16, 0, 1),
        "later": Need(12, 2, 3),
        "long": Need(8, 1, 2),
    }
    assert place(needs, 4) == {"large": 0, "later": 0, "long": 16, "small": 24}
    assert list(place(needs, 4)) == ["large", "later", "long", "small"]
    needs["last"] = Need(2, 2, 3)
    assert place(needs, 4)["last"] == 12


def test_offsets_are_rounded_up() -> None:
    assert place({"a": Need(5, 0, 0), "b": Need(3, 0, 0)}, 4) == {"a": 0, "b": 8}
