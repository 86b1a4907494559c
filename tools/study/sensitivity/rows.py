"""Sensitivities as rows of a study, which `qbnnc report` shows."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from qbnnc.passes.mixed_precision.analysis import Sensitivities
from qbnnc.study.sweep.rows import Header, Row, Sensitivity, read_rows, to_json
from qbnnc.study.sweep.settings import digest
from qbnnc.study.sweep.store import check_writable
from qbnnc.support.errors import FileError
from qbnnc.support.files import write_atomically
from qbnnc.version import COMPILER


def rows_of(found: Sensitivities, command: str = "") -> Iterator[Row]:
    """A header, and a row for each cost. `command` is for people."""
    made = {"qbnnc": COMPILER.split()[-1], "python": platform.python_version()}
    made |= {"command": command} if command else {}
    yield Header(
        found.network,
        found.method,
        found.task,
        digest(found.configuration),
        made,
        found.configuration,
    )
    for cost in found.costs:
        yield Sensitivity(
            found.network,
            cost.layer.name,
            cost.bits.weights,
            cost.bits.activations,
            cost.metrics,
            found.baseline,
        )


def check_output(path: str | os.PathLike[str]) -> None:
    """FileError, before any work, if they cannot go there: a file of anything else is kept."""
    check_writable(path)
    if Path(path).exists() and not _holds_sensitivities(path):
        raise FileError("holds something else than sensitivities: give another file with -o", path)


def _holds_sensitivities(path: str | os.PathLike[str]) -> bool:
    try:
        rows = read_rows(path)
    except FileError:
        return False
    first = next(iter(rows), None)
    of_us = isinstance(first, Header) and "--tried" in first.data
    return of_us and all(isinstance(row, Sensitivity) for row in rows[1:])


def write_rows(found: Sensitivities, path: str | os.PathLike[str], command: str = "") -> None:
    """Write them as a study's file; FileError if it cannot be written."""
    lines = (to_json(row) + "\n" for row in rows_of(found, command))
    write_atomically(path, "".join(lines).encode())
