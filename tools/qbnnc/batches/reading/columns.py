"""Columns of a table: those that a network takes, by name or number."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qbnnc.support.errors import InputError, UserError
from qbnnc.support.text import counted

_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")
_SHOWN = 8


def chosen_columns(
    place: object, columns: Sequence[str] | None, names: Sequence[str] | None, count: int, want: int
) -> list[int]:
    """The places, from 0, of the columns of a table that make a row of `want` numbers.

    `names` are those of the table's `count` columns, or None; then `columns` are numbers from 1, or
    ranges such as 2-14. UserError for a column that is not there or is there twice, and InputError
    for another number of columns than `want`.
    """
    found = list(range(count))
    if columns is not None:
        if not (given := [each.strip() for each in columns]) or "" in given:
            raise UserError("names no column", place="`columns`", remedy="write such as a,b,c")
        if names is None:
            found = [place_ for each in given for place_ in _numbered(place, each, count)]
        else:
            found = [_named(place, each, names) for each in given]
        if len(set(found)) < len(found):
            twice = next(each for each in found if found.count(each) > 1)
            what = twice + 1 if names is None else names[twice]
            raise UserError(f"column {what} is chosen twice", place="`columns`")
    if len(found) != want:
        raise InputError(
            f"{counted(len(found), 'column')}, the network takes {want}",
            place=place,
            remedy="choose with `columns`",
        )
    return found


def _named(place: object, name: str, names: Sequence[str]) -> int:
    match names.count(name):
        case 1:
            return names.index(name)
        case 0:
            has = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
            raise InputError(f"no column {name!r}", place=place, remedy=f"it has {has}")
        case several:
            raise InputError(
                f"{several} columns are called {name!r}", place=place, remedy="rename them"
            )


def _numbered(place: object, text: str, count: int) -> range:
    found = _RANGE.fullmatch(text)
    first, last = (found[1], found[2]) if found else (text, text)
    if not re.fullmatch(r"\d{1,9}", first) or not 1 <= int(first) <= int(last):
        raise UserError(
            "the table has no header, so that its columns have numbers",
            place=f"`columns` {text!r}",
            remedy="write such as 1,3 or 2-14",
        )
    if int(last) > count:
        raise InputError(f"no column {last}", place=place, remedy=f"it has {count}")
    return range(int(first) - 1, int(last))
