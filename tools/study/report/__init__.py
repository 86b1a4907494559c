"""The report of a study: one HTML file, readable anywhere, loading nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from qbnnc.study.results import Header, Row
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.files import write_atomically

__all__ = ["check_installed", "write_report"]


def write_report(rows: Iterable[Row], path: str | os.PathLike[str], title: str) -> None:
    """Write figures, tables and a summary of a study's rows; the same rows give the same bytes.

    Rows of several studies of the same task may be given together. Raises UserError if there is
    nothing to show, tasks are mixed, or a library is missing; FileError if `path` cannot be
    written.
    """
    if Path(path).suffix != ".html":
        raise FileError("a report is written as .html", path, "give a name that ends so")
    check_installed("the report")
    everything = list(rows)
    if all(isinstance(row, Header) for row in everything):
        raise UserError("the study has no results to report yet", path, "run it first")
    if len({row.task for row in everything if isinstance(row, Header)}) > 1:
        raise UserError(
            "studies of classification and of regression", path, "write a report for each"
        )
    # matplotlib takes most of a second to load, and belongs to an extra
    from qbnnc.study.report.grouping import group
    from qbnnc.study.report.page import page

    write_atomically(path, page(group(everything), title).encode())


def check_installed(place: str) -> None:
    """Raise UserError at `place` unless the libraries that make a page are installed."""
    if missing := [module for module in ("matplotlib", "jinja2") if find_spec(module) is None]:
        raise UserError(
            f"needs {' and '.join(missing)}", place, "install with pip install 'qbnnc[study]'"
        )
