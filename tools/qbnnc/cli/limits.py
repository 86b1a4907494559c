"""Limits of metrics, for a build that must fail when a network becomes worse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import click

from qbnnc.cli.common import Option, options
from qbnnc.support.errors import UserError


@dataclass(frozen=True, slots=True)
class Limit:
    """The greatest or the least that a metric may be, in the units of the table."""

    metric: str
    value: float
    greatest: bool

    def __str__(self) -> str:
        return f"{'--max' if self.greatest else '--min'} {self.metric}={self.value:g}"

    def keeps(self, measured: float) -> bool:
        """Whether a value is within the limit; NaN never is."""
        return measured <= self.value if self.greatest else measured >= self.value


limit_options: Option = options(
    click.option(
        "--max",
        "greatest",
        multiple=True,
        metavar="METRIC=X",
        help="Exit with code 1 if a metric of an ARTEFACT is greater, such as nll=.45, or error=3 "
        "(in the units of the table); repeat for several.",
    ),
    click.option(
        "--min",
        "least",
        multiple=True,
        metavar="METRIC=X",
        help="Exit with code 1 if a metric is less, such as rank=.95; repeat for several.",
    ),
)
"""--max and --min."""


def parse_limits(greatest: Sequence[str], least: Sequence[str]) -> list[Limit]:
    """The limits that were given; UserError for a text that is none.

    >>> [str(limit) for limit in parse_limits(("nll=.45",), ("rank=.95",))]
    ['--max nll=0.45', '--min rank=0.95']
    """
    return [_parsed(text, greatest=True) for text in greatest] + [
        _parsed(text, greatest=False) for text in least
    ]


def _parsed(text: str, *, greatest: bool) -> Limit:
    metric, _, number = (part.strip() for part in text.partition("="))
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not metric or math.isnan(value):
        flag = "--max" if greatest else "--min"
        raise UserError("write METRIC=X, such as nll=.45", place=f"{flag} {text!r}")
    return Limit(metric, value, greatest)


def exceeded(limits: Sequence[Limit], measured: Mapping[str, float]) -> Iterator[str]:
    """A sentence for each limit that is not kept; UserError for a metric that was not measured."""
    for limit in limits:
        if limit.metric not in measured:
            raise UserError(
                f"no such metric here; there are {', '.join(measured)}", place=str(limit)
            )
        value = measured[limit.metric]
        if not limit.keeps(value):
            yield f"{limit.metric} is {value:.4g}, and the limit is {limit}"
