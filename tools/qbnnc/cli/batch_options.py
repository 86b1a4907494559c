"""Options of `qbnnc run` for tables and large files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps

import click

from qbnnc.cli.common import options
from qbnnc.support.errors import UserError

_options = options(
    click.option(
        "--columns",
        metavar="NAME,...",
        help="Take these columns of a .csv or .parquet file, in this order; numbers such as 1,3-5 "
        "where it has no header.  [default: all]",
    ),
    click.option(
        "--header/--no-header",
        default=None,
        help="Take the first line of a .csv file for names, or for a row.  [default: if clear]",
    ),
    click.option(
        "--statistics-only", is_flag=True, help="Leave samples out, as .csv and .parquet need."
    ),
    click.option(
        "--quantiles",
        metavar="Q,...",
        help="Add quantiles over the samples of each row and output, such as .05,.5,.95.",
    ),
    click.option(
        "--chunk-size",
        type=click.IntRange(min=1),
        metavar="N",
        help="Read, compute and write so many rows at a time; the result is the same.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Compute in so many processes; the result is the same.  [default: 1, with threads]",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Compute on the workers of this Dask scheduler, such as tcp://host:8786.",
    ),
    click.option(
        "--wait",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="Wait so long for the scheduler's first worker.  [default: 60]",
    ),
    click.option(
        "--restart", is_flag=True, help="Begin again, not where another run was interrupted."
    ),
)


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The options as they were given; None or False where they were not."""

    columns: str | None
    header: bool | None
    statistics_only: bool
    quantiles: str | None
    chunk_size: int | None
    workers: int | None
    scheduler: str | None
    wait: float | None
    restart: bool

    def given(self) -> list[str]:
        """The names of those that were given."""
        return [f.name for f in fields(self) if getattr(self, f.name) not in (None, False)] + [
            "header"
        ] * (self.header is False)

    def names(self) -> list[str] | None:
        """The columns that were chosen."""
        return None if self.columns is None else self.columns.split(",")

    def numbers(self) -> tuple[float, ...]:
        """The quantiles; UserError for what is no number."""
        texts = [] if self.quantiles is None else self.quantiles.split(",")
        try:
            return tuple(float(text) for text in texts)
        except ValueError:
            raise UserError(
                "write numbers from 0 to 1, such as .05,.5,.95",
                place=f"--quantiles {self.quantiles!r}",
            ) from None


def batch_options(function: Callable[..., int]) -> Callable[..., int]:
    """Options for tables and large files, which the command gets as one `batch`."""

    @wraps(function)
    def command(**given: object) -> int:
        mine: Mapping[str, object] = {f.name: given.pop(f.name) for f in fields(BatchOptions)}
        return function(batch=BatchOptions(**mine), **given)  # type: ignore[arg-type]  # click's

    return _options(command)
