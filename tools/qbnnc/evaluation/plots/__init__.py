"""Plots of an evaluation: `check_plot` before it, `write_plot` after."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qbnnc.evaluation.files import Evaluation
from qbnnc.support.errors import FileError, UserError
from qbnnc.support.extras import require
from qbnnc.support.files import check_output, write_atomically

__all__ = ["MOST_MODELS", "SUFFIXES", "check_plot", "write_plot"]

SUFFIXES = (".svg", ".png", ".pdf")
MOST_MODELS = 7
"""As many models have colours that are told apart."""


def check_plot(path: str | os.PathLike[str], models: int) -> None:
    """Refuse, before any work, a plot of so many models that cannot be made.

    FileError for an unknown suffix or a path that cannot be written; UserError for too many models,
    or where matplotlib is missing.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise FileError(
            "a plot has another format", path, remedy=f"give a name in {', '.join(SUFFIXES)}"
        )
    if models > MOST_MODELS:
        raise UserError(
            f"{models} models in one plot cannot be told apart",
            path,
            remedy=f"name {MOST_MODELS} or fewer",
        )
    require("matplotlib", what="`plot`")
    check_output(path)


def write_plot(
    path: str | os.PathLike[str],
    evaluations: Sequence[Evaluation],
    titles: Sequence[str],
    data: str,
) -> None:
    """Write a plot of evaluations on the same data, which the legend calls by their `titles`.

    The first seed of each is drawn. The same evaluations give the same bytes. FileError and
    UserError as `check_plot`.
    """
    check_plot(path, len(evaluations))
    # matplotlib takes most of a second to load, and belongs to an extra
    from qbnnc.evaluation.plots.figure import plotted

    write_atomically(path, plotted(evaluations, titles, data, Path(path).suffix.lower()))
