"""Row ids: numbers that the rows of a batch have for random numbers, one by one.

docs/semantics.md, section 5, defines them. A batch from `first_row` on has the ids `first_row`,
`first_row` + 1 and so on.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qbnnc.support.errors import InputError
from qbnnc.support.inputs import as_first_row

PLACE = "row_ids"
MOST_ID = 2**63 - 1


def as_row_ids(row_ids: ArrayLike, rows: int, first_row: int = 0) -> NDArray[np.int64]:
    """`row_ids` as int64 [rows]; they may be in any order, and equal.

    InputError for another shape, for numbers that are not whole, below 0 or above 2^63 - 1, and
    beside a `first_row`, which is 0 where none is given.
    """
    if as_first_row(first_row):
        raise InputError("given beside `first_row`", PLACE, "give one of the two")
    try:
        array = np.asarray(row_ids)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise InputError(f"not an array of whole numbers ({error})", PLACE) from error
    if array.shape != (rows,):
        shown = ", ".join(map(str, array.shape))
        raise InputError(f"the shape is [{shown}]", PLACE, f"give one for each row, [{rows}]")
    if isinstance(row_ids, list | tuple) and all(type(each) is int for each in row_ids):
        # numpy makes float64 or objects of large ones, which would hide what is wrong
        _expect_between(min(row_ids, default=0), max(row_ids, default=0))
    if rows == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu":
        raise InputError(
            f"the element type is {array.dtype}", PLACE, "give whole numbers, such as int64"
        )
    _expect_between(int(array.min()), int(array.max()))
    return np.ascontiguousarray(array, np.int64)


def ids_from(first_row: int, rows: int) -> NDArray[np.int64]:
    """The ids of rows that are counted from `first_row` on, mod 2^64: int64 of the same bits.

    InputError for a negative `first_row`.
    """
    first = np.array(as_first_row(first_row) % 2**64, np.uint64)
    return (first + np.arange(rows, dtype=np.uint64)).view(np.int64)


Run = tuple[NDArray[np.intp], int]
"""The places of rows in a batch whose ids count up by one, and the first id."""


def runs(ids: NDArray[np.int64]) -> list[Run]:
    """The places of rows whose ids count up by one, as few lists as can be, each with its first id.

    Each place is in one list. A single list holds all places in order if the ids do count up.

    >>> [(places.tolist(), first) for places, first in runs(np.array([4, 8, 5, 4]))]
    [([0, 2], 4), ([1], 8), ([3], 4)]
    """
    if not len(ids):
        return []
    order = np.argsort(ids, kind="stable")
    turn = np.empty(len(ids), np.int64)
    turn[order] = _turns(ids[order])
    order = np.lexsort((ids, turn))
    follows = (np.diff(ids[order]) == 1) & (np.diff(turn[order]) == 0)
    ends = np.flatnonzero(~follows) + 1
    return [(places, int(ids[places[0]])) for places in np.split(order, ends)]


def _turns(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each of the `ordered` ids was there before."""
    places = np.arange(len(ordered))
    new = np.concatenate([[True], np.diff(ordered) != 0])
    return places - np.maximum.accumulate(np.where(new, places, 0))


def _expect_between(least: int, most: int) -> None:
    if least < 0:
        raise InputError(f"{least}", PLACE, "ids are 0 or more")
    if most > MOST_ID:
        raise InputError(f"{most}", PLACE, f"ids are {MOST_ID} (2^63 - 1) or less")
