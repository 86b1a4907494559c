"""How far a fine-tuning is, as a person sees it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import TaskID

    from qbnnc.backends.torch.training import Progress


class Shown:
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

    def __enter__(self) -> Shown:
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
