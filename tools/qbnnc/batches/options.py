"""Options of a run, as the user gave them, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qbnnc.batches.computing import Request
from qbnnc.support.errors import InputError, UserError
from qbnnc.support.inputs import MOST_ROWS_AT_ONCE, as_count, as_first_row, as_integer, number

MOST_WORKERS = 1024
MOST_ROW = 2**63
"""Rows are numbered below this number."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Everything but the files; see `qbnnc.predict_file`."""

    samples: int | None = None
    seed: int = 0
    first_row: int = 0
    statistics_only: bool = False
    quantiles: Sequence[float] = ()
    columns: Sequence[str] | None = None
    header: bool | None = None
    chunk_size: int | None = None
    batch_size: int | None = None
    workers: int = 1
    scheduler: str | None = None
    wait: float = 60.0
    restart: bool = False

    def check(self) -> Request:
        """What is computed; UserError for a number that makes no sense."""
        if as_first_row(self.first_row) >= MOST_ROW:
            raise first_row_error(self.first_row)
        as_integer(self.seed, "seed")
        if self.chunk_size is not None:
            as_count(self.chunk_size, "chunk_size", MOST_ROWS_AT_ONCE)
        if self.batch_size is not None:
            as_count(self.batch_size, "batch_size", MOST_ROWS_AT_ONCE)
        as_count(self.workers, "workers", MOST_WORKERS)
        if self.scheduler is not None and self.workers != 1:
            raise UserError(
                "has its own workers", place="`scheduler`", remedy="leave `workers` out"
            )
        if number("wait", self.wait) < 0:
            raise UserError("give 0 or more", place=f"`wait` {self.wait}")
        quantiles = checked_quantiles(self.quantiles)
        return Request(
            self.samples, self.seed, self.statistics_only, quantiles, batch_size=self.batch_size
        )


def checked_quantiles(quantiles: Sequence[float]) -> tuple[float, ...]:
    """Increasing numbers from 0 to 1, which have names of their own; UserError otherwise."""
    found = tuple(number("quantiles", q) for q in quantiles)
    for q in found:
        if not 0 <= q <= 1:
            raise UserError("a quantile is a number from 0 to 1", place=f"`quantiles` {q:g}")
    if list(found) != sorted({float(f"{q:g}") for q in found}):
        raise UserError(
            "not increasing, or of more than 6 digits",
            place=f"`quantiles` {','.join(f'{q:g}' for q in found)}",
            remedy="write such as .05,.5,.95",
        )
    return found


def first_row_error(first_row: int) -> InputError:
    """The error for rows whose numbers would not fit 63 bits."""
    return InputError(
        f"{first_row}: a row would have a number of 2^63 or more",
        place="`first_row`",
        remedy="give a lower one",
    )
