"""One model's predictions as a plot draws them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from qbnnc.evaluation.plots.canvas import INK, Look
from qbnnc.evaluation.score import Rows, Scores
from qbnnc.runtime.metrics import Float64

BINS = 20
_DRAWABLE = 1e100


@dataclass(frozen=True, slots=True)
class Series:
    """A model's scores, and the look of its lines."""

    scores: Scores
    look: Look

    @property
    def rows(self) -> Rows:
        """The predictions at the first seed."""
        return self.scores.rows_of_seeds[0]


Panel: TypeAlias = Callable[[Axes, Sequence[Series]], None]


def histograms(axes: Axes, several: Sequence[tuple[Series, Float64, Float64 | None]]) -> None:
    """Shares of rows in 20 bins: a line for each model's rows, and a pale one for unknown rows.

    Numbers are uncertainties, from 0 on.
    """
    every = [v for _, known, unknown in several for v in (known, unknown) if v is not None]
    most = max((float(drawable(v).max(initial=0.0)) for v in every), default=0.0)
    edges = np.linspace(0, most or 1.0, BINS + 1)
    for series, known, unknown in several:
        look, kept = series.look, drawable(known)
        shares = np.histogram(kept, edges)[0] / len(known)
        axes.stairs(shares, edges, color=look.colour, linestyle=look.dash, label=look.label)
        if unknown is not None:
            shares = np.histogram(drawable(unknown), edges)[0] / len(unknown)
            axes.stairs(shares, edges, color=look.colour, linestyle=look.dash, fill=True, alpha=0.2)
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
    axes.set_ylabel("Rows in a bin, %")
    axes.set_xlim(0, float(edges[-1]))


def diagonal(axes: Axes) -> None:
    """The line of perfect calibration, over the unit square, in percent."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, symbol=""))


def drawable(numbers: Float64) -> Float64:
    """The numbers that an axis can hold."""
    kept: Float64 = numbers[np.isfinite(numbers) & (np.abs(numbers) < _DRAWABLE)]
    return kept
