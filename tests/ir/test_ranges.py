"""The least and greatest codes of values that move, meet, or come from tables."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.ops import (
    ClampCodes,
    Concat,
    KeepMask,
    MaxPool2d,
    MaxUnpool,
    Op,
    Pad,
    Reshape,
    Select,
    Slice,
    Transpose,
)
from qbnnc.ir.ops.unary import Lookup
from qbnnc.ir.ranges import CodeRanges
from qbnnc.ir.types import Stage
from tests.ir.test_bounds import CODES, LOC, entered


@pytest.mark.parametrize(
    ("op", "taken", "ends"),
    [
        (Reshape((1, 2, 8)), (7, 11), (0, 6)),
        (Transpose((0, 2, 1)), (1, 3), (-4, 0)),
        (Slice(1, 0, 2), (3, 11), (-2, 6)),
        (Pad((1, 1, 1, 1)), (1, 3), (-4, 0)),
        (ClampCodes(4, 9), (3, 11), (-1, 4)),
        (MaxPool2d((2, 2), (2, 2)), (7, 11), (0, 6)),
        (MaxPool2d((2, 2), (2, 2)), (4, 6), (-1, 1)),
        (MaxPool2d((2, 2), (2, 2), (1, 1, 1, 1)), (4, 6), (-1, 1)),  # each window meets a code
        (MaxPool2d((1, 1), (1, 1), (1, 1, 1, 1)), (4, 6), (-5, 1)),  # a window of padding alone
    ],
    ids=str,
)
def test_codes_that_move_keep_their_ends(
    op: Op, taken: tuple[int, int], ends: tuple[int, int]
) -> None:
    """q - Z for Z = 5, with 0; a max pool of padding alone gives the least code, 0."""
    build, x = entered((1, 4, 4), taken)
    y = build.emit(op, x, loc=LOC, name="moved")
    assert CodeRanges(build.graph((y,), Stage.INTEGER)).centred(y) == ends


@pytest.mark.parametrize(("taken", "ends"), [((3, 11), (-2, 6)), ((1, 3), (-4, 0))])
def test_a_dropped_code_is_the_zero_point(taken: tuple[int, int], ends: tuple[int, int]) -> None:
    build, x = entered((1, 4, 4), taken)
    keep = build.emit(KeepMask((1, 4, 4), 0.5, 0), loc=LOC, name="keep")
    y = build.emit(Select(), x, keep, loc=LOC, name="dropped")
    assert CodeRanges(build.graph((y,), Stage.INTEGER)).centred(y) == ends


@pytest.mark.parametrize(("taken", "ends"), [((7, 11), (0, 6)), ((1, 3), (-4, 0))])
def test_codes_put_back_have_zeros_beside_them(
    taken: tuple[int, int], ends: tuple[int, int]
) -> None:
    """The image may have other codes: none of these is in the result."""
    build, x = entered((1, 4, 4), (0, 15))
    pooled = build.emit(MaxPool2d((2, 2), (2, 2)), x, loc=LOC, name="pooled")
    v = build.emit(ClampCodes(*taken), pooled, loc=LOC, name="clamped")
    y = build.emit(MaxUnpool((2, 2)), v, x, loc=LOC, name="back")
    assert CodeRanges(build.graph((y,), Stage.INTEGER)).centred(y) == ends


def test_joined_codes_have_the_ends_of_both() -> None:
    build, x = entered((1, 4, 4), (1, 14))
    clamps = [
        build.emit(ClampCodes(*ends), x, loc=LOC, name=f"{ends}") for ends in ((4, 12), (2, 9))
    ]
    for order in (clamps, clamps[::-1]):
        y = build.emit(Concat(0), *order, loc=LOC, name=f"cat {order[0].name}")
        assert CodeRanges(build.graph((y,), Stage.INTEGER)).centred(y) == (-3, 7)


def test_constants_and_tables_have_all_codes() -> None:
    build, x = entered((3,), (7, 11))
    constant = build.constant("constant", np.zeros(3, np.uint8), CODES)
    entries = build.constant("entries", np.zeros(16, np.uint8))
    made = build.emit(Lookup(CODES), x, entries, loc=LOC, name="made")
    ranges = CodeRanges(build.graph((constant, made), Stage.INTEGER))
    assert ranges.centred(constant) == ranges.centred(made) == (-5, 10)
