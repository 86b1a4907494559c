"""What the library logs, as a person at a terminal sees it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from qbnnc.cli.common import say

if TYPE_CHECKING:
    from qbnnc.runtime.cache import Progress

_BAR = 24  # characters
_WIDTH = 79


class Shown(logging.Handler):
    """Warnings as sentences; the compilation of kernels as a line that fills, on a terminal.

    Elsewhere one line says that kernels are being compiled. With --quiet there are warnings alone.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            say(f"Warning: {record.getMessage()}")
            return
        progress: Progress | None = getattr(record, "compiling", None)
        if progress is None or _is_quiet():
            return
        begins = progress.done == 0 and not progress.kernel
        if sys.stderr.isatty():
            _draw(progress, record.getMessage())
        elif begins:
            say(record.getMessage())


@contextmanager
def shown_log() -> Iterator[None]:
    """The log of `qbnnc` on stderr, meanwhile."""
    log, shown = logging.getLogger("qbnnc"), Shown()
    level = log.level
    log.addHandler(shown)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(shown)


def _draw(progress: Progress, message: str) -> None:
    done, total, kernel = progress
    if done == total:
        click.echo("\r" + " " * _WIDTH + "\r", nl=False, err=True)
        say(message)
        return
    filled = _BAR * done // total
    bar = "#" * filled + "-" * (_BAR - filled)
    line = f"compiling kernels, once [{bar}] {done}/{total} {kernel}"
    click.echo("\r" + line[:_WIDTH].ljust(_WIDTH), nl=False, err=True)


def _is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("quiet", False))
