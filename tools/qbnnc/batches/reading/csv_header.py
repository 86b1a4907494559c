"""The first line of a CSV file: names of columns, or numbers."""

from __future__ import annotations

import csv
from collections.abc import Sequence

import numpy as np

from qbnnc.support.errors import FileError


def cells_of(line: str, place: object) -> list[str]:
    """The cells of one line; FileError for a quoted cell that the line does not end."""
    try:
        return next(csv.reader([line], strict=True))
    except (csv.Error, StopIteration):
        raise FileError(
            "a quotation mark too many, or a cell of several lines",
            place,
            "write each row on one line",
        ) from None


def is_number(cell: str) -> bool:
    """Whether the reader takes a cell for a number; NaN and infinity are numbers here.

    >>> is_number("1e-3"), is_number("1_000"), is_number("")
    (True, False, False)
    """
    if not cell.strip() or "," in cell or '"' in cell or "\n" in cell:
        return False
    try:
        return np.loadtxt([cell], np.float64, comments=None, delimiter=",").shape == ()
    except ValueError:
        return False


def names_of(place: object, cells: Sequence[str], header: bool | None) -> list[str] | None:
    """The names in the first line; None if it holds numbers.

    `header` says which; None decides where it cannot be otherwise. FileError for a line that could
    be either: some cells are numbers and some are not, or the numbers are those of the columns.
    """
    names = [cell.strip() for cell in cells]
    if header is not None:
        return names if header else None
    numbers = [is_number(cell) for cell in cells]
    counts = all(numbers) and len(cells) > 1 and _counts(cells)
    if counts or any(numbers) != all(numbers):
        what = "counts its columns" if counts else "holds numbers and other text"
        raise FileError(
            f"the first line {what}: is it a header, or a row?",
            place,
            "say `header=True` or `header=False`",
        )
    return None if all(numbers) else names


def _counts(cells: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2, ... or 1, 2, 3, ..., as writers number columns."""
    texts = [cell.strip() for cell in cells]
    return any(texts == [str(i + start) for i in range(len(texts))] for start in (0, 1))
