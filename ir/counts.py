"""How much one call may be asked for, and numbers held against it."""

from __future__ import annotations

from qbnnc.ir import limits
from qbnnc.ir.errors import InputError
from qbnnc.ir.inputs import as_integer

MOST_PREDICTED = 4 << 30
"""Bytes of the samples that one prediction gives: 4 for each row, sample and output element."""
MOST_ROWS_AT_ONCE = 2**31 - 1
MOST_THREADS = 1024


def as_count(value: object, name: str, most: int) -> int:
    """A whole number from 1 to `most`; InputError otherwise, which names value and limit."""
    if (number := as_integer(value, name)) < 1:
        raise InputError(f"{name}: {number} is not a positive number")
    if number > most:
        raise InputError(f"{name}: {number}; give {most} or less")
    return number


def as_first_row(value: object) -> int:
    """The number of a batch's first row, which counts mod 2^64; InputError if it is negative."""
    if (number := as_integer(value, "first_row")) < 0:
        raise InputError(f"first_row: {number}; rows are numbered from 0")
    return number


def check_asked(rows: int, samples: int, members: int, elements: int) -> None:
    """InputError for a prediction of more draws, or more bytes of samples, than any may have.

    `elements` are those of all outputs for one row and sample.
    """
    if samples > limits.DRAWS.most * members:
        each = "" if members == 1 else f" for each of the {members} members"
        raise InputError(
            f"samples: {samples}; a prediction has {limits.DRAWS.most} at most{each}: predict "
            "again with other seeds"
        )
    if (total := 4 * rows * samples * elements) > MOST_PREDICTED:
        raise InputError(
            f"samples: {samples} of {rows} rows, {elements} numbers each, take {total} bytes, and "
            f"a prediction {MOST_PREDICTED} at most: give fewer rows, or ask for fewer samples"
        )
