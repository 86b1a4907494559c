"""The progress of a command: one line on a terminal's stderr, and the library's log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import click

from qbnnc.cli.common import say

if TYPE_CHECKING:
    from qbnnc.runtime.cache import Progress as Compilation

_BAR = 24  # characters
_WIDTH = 79
_SOON = 1.0  # seconds, before which an estimate says nothing


class ProgressLine:
    """One line that tells how far a command is; it is empty again at the end.

    The line is on a terminal's stderr: nothing is drawn elsewhere, nor with --quiet. click alone
    draws it, because `qbnnc run` and `qbnnc warmup` work without the compiler's libraries.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.shown = not quiet and sys.stderr.isatty()
        self._label, self._start, self._first = "", 0.0, 0

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *error: object) -> None:
        if self._label:
            self.clear()

    def show(self, label: str, done: int, total: int, detail: str = "") -> None:
        """Draw `done` of `total` steps of what `label` names; `detail` is about the latest."""
        if not self.shown:
            return
        if label != self._label:
            self._label, self._start, self._first = label, time.monotonic(), done
        filled = _BAR * done // max(total, 1)
        bar = "#" * filled + "-" * (_BAR - filled)
        parts = (f"{label} [{bar}] {done}/{total}", self._time_left(done, total), detail)
        line = " ".join(filter(None, parts))
        click.echo("\r" + line[:_WIDTH].ljust(_WIDTH), nl=False, err=True)

    def counter(self, label: str) -> Callable[[int, int], None]:
        """A function of (done, total) that draws the line."""
        return partial(self.show, label)

    def clear(self) -> None:
        """Make the line empty."""
        self._label = ""
        if self.shown:
            click.echo("\r" + " " * _WIDTH + "\r", nl=False, err=True)

    def _time_left(self, done: int, total: int) -> str:
        """ "0:01:30 left"; "" before there is an estimate."""
        passed, made = time.monotonic() - self._start, done - self._first
        if made <= 0 or passed < _SOON:
            return ""
        minutes, seconds = divmod(round(passed * (total - done) / made), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left"


class LogHandler(logging.Handler):
    """Warnings are sentences; the compilation of kernels is a ProgressLine.

    Where no line is drawn, one sentence says that kernels are being compiled, and one says how long
    they took. With --quiet there are warnings alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self._line = ProgressLine()

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            say(f"Warning: {record.getMessage()}")
            return
        progress: Compilation | None = getattr(record, "compiling", None)
        if progress is not None and not _is_quiet():
            self._tell(progress, record.getMessage())

    def _tell(self, progress: Compilation, message: str) -> None:
        if not self._line.shown:
            if not progress.kernel:
                say(message)
        elif progress.done == progress.total:
            self._line.clear()
            say(message)
        else:
            done, total, kernel = progress
            self._line.show("compiling kernels, once", done, total, kernel)


@contextmanager
def shown_log() -> Iterator[None]:
    """Show the log of `qbnnc` on stderr meanwhile."""
    log, shown = logging.getLogger("qbnnc"), LogHandler()
    level = log.level
    log.addHandler(shown)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(shown)


def show_measured(line: ProgressLine, what: str, done: int, total: int) -> None:
    """Draw that a network, which `what` describes, is measured after `done` others."""
    line.show("measuring", done + 1, total, what)


def _is_quiet() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("quiet", False))
