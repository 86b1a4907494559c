"""Options of the distribution check, and the bars of what takes long in a compile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

import click

from qbnnc.passes.calibrate import Progress
from qbnnc.support.errors import UserError
from qbnnc.verification.distribution import DistributionCheck

F = TypeVar("F", bound=Callable[..., Any])


def distribution_options(function: F) -> F:
    """--distribution-check and --no-distribution-check."""
    for option in (
        click.option(
            "--no-distribution-check",
            is_flag=True,
            help="Do not compare the network with its module; the artefact says so.",
        ),
        click.option(
            "--distribution-check",
            type=click.Choice(["default", "full"]),
            help="How many samples are compared with the module's.  [default: by cost]",
        ),
    ):
        function = option(function)
    return function


def effort_of(chosen: DistributionCheck, *, skipped: bool) -> DistributionCheck:
    """What the two options ask for; UserError if they contradict each other."""
    if skipped and chosen is not None:
        raise UserError("--no-distribution-check: contradicts --distribution-check; give one")
    return None if skipped else chosen or "default"


@contextmanager
def bars(quiet: bool) -> Iterator[tuple[Progress | None, Progress | None]]:
    """Bars on a terminal's stderr, of the calibration and of the comparison; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None, None
        return
    with ExitStack() as shown:
        yield _bar("calibrating", shown), _bar("comparing", shown)


def _bar(label: str, shown: ExitStack) -> Progress:
    """A bar that appears with the first progress, and ends before another begins."""
    bar = click.progressbar(length=1, label=label, file=sys.stderr)

    def show(done: int, total: int) -> None:
        bar.length = total
        if not bar.entered:
            bar.start = bar.last_eta = time.time()  # reading the model is no part of the estimate
            shown.enter_context(bar)
        bar.update(done - bar.pos)
        if done == total:
            bar.render_finish()

    return show
