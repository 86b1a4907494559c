"""The plot of evaluations: its panels, its title, its lines' looks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from qbnnc.evaluation.files import FLOAT, Evaluation
from qbnnc.evaluation.plots import classification, regression
from qbnnc.evaluation.plots.canvas import Draw, Look, drawn
from qbnnc.evaluation.plots.series import Panel, Series
from qbnnc.ir.head import Task
from qbnnc.support.text import counted


def plotted(
    evaluations: Sequence[Evaluation], titles: Sequence[str], data: str, suffix: str
) -> bytes:
    """The plot in the format of the suffix; see `qbnnc.evaluation.plots.write_plot`."""
    models = [
        Series(e.scores, Look.of(i, _label(e, title), reference=e.bits == FLOAT))
        for i, (e, title) in enumerate(zip(evaluations, titles, strict=True))
    ]
    first = evaluations[0].scores
    kind = classification if first.task is Task.CLASSIFICATION else regression
    heading = f"{first.task.value.capitalize()} of {data}: {counted(first.rows, 'row')}"
    seed = f", seed {first.seeds[0]}" if any(m.scores.random for m in models) else ""
    return drawn([_of(panel, models) for panel in kind.panels(models)], heading + seed, suffix)


def _label(evaluation: Evaluation, title: str) -> str:
    drawn = f", L = {evaluation.scores.samples}"
    return f"{title}: {evaluation.bits}{drawn}"


def _of(panel: Panel, models: Sequence[Series]) -> Draw:
    def draw(axes: Axes) -> None:
        panel(axes, models)

    return draw
