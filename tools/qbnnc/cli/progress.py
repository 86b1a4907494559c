"""How far a command is: bars and lines on stderr, and what the library logs."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from qbnnc.cli.common import say
from qbnnc.passes.calibrate import Progress as Count
from qbnnc.support.text import shortened

if TYPE_CHECKING:
    from rich.progress import TaskID

    from qbnnc.backends.torch.training import Progress
    from qbnnc.runtime.cache import Progress as Compilation
    from qbnnc.study.sensitivity import Progress as Measuring

_BAR = 24  # characters
_WIDTH = 79


class LogHandler(logging.Handler):
    """Warnings as sentences; the compilation of kernels as a line that fills, on a terminal.

    Elsewhere one line says that kernels are being compiled. With --quiet there are warnings alone.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            say(f"Warning: {record.getMessage()}")
            return
        progress: Compilation | None = getattr(record, "compiling", None)
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
    log, shown = logging.getLogger("qbnnc"), LogHandler()
    level = log.level
    log.addHandler(shown)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(shown)


def _draw(progress: Compilation, message: str) -> None:
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


class TrainingProgress:
    """A bar for each member on a terminal, a line for each validation elsewhere."""

    def __init__(self, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._lines = not quiet and not sys.stderr.isatty()
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=Console(stderr=True),
            disable=quiet or self._lines,
        )
        self._tasks: dict[int, TaskID] = {}

    def __enter__(self) -> TrainingProgress:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        who = f"member {progress.member + 1}/{progress.members}" if progress.members > 1 else ""
        losses = f"validation {progress.validation:.4g}, best {progress.best:.4g}"
        if self._lines:
            done = f"step {progress.step}/{progress.steps}"
            click.echo(", ".join(filter(None, [who, done, losses])), err=True)
            return
        if progress.member not in self._tasks:
            for task in self._tasks.values():
                self._bars.update(task, visible=False)
            self._tasks[progress.member] = self._bars.add_task(
                who or "fine-tuning", total=progress.steps, losses=""
            )
        task_id = self._tasks[progress.member]
        self._bars.update(task_id, completed=progress.step, losses=losses)


@contextmanager
def bars(quiet: bool) -> Iterator[tuple[Count | None, Count | None]]:
    """Bars on a terminal's stderr, of the calibration and of the comparison; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None, None
        return
    with ExitStack() as shown:
        yield _bar("calibrating", shown), _bar("comparing", shown)


def _bar(label: str, shown: ExitStack) -> Count:
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


@contextmanager
def line_progress(quiet: bool) -> Iterator[Measuring | None]:
    """What is measured, on one line of a terminal's stderr that is empty at the end."""
    if quiet or not sys.stderr.isatty():
        yield None
        return

    def show(what: str, done: int, total: int) -> None:
        click.echo(f"\r\x1b[K{done + 1}/{total} {shortened(what, 60)}", err=True, nl=False)

    try:
        yield show
    finally:
        click.echo("\r\x1b[K", err=True, nl=False)
