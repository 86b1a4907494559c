"""What one layer at fewer bits costs: bars, and the rows of their table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.axes import Axes

from qbnnc.study.report.canvas import panel, shortened
from qbnnc.study.report.figures import Figure
from qbnnc.study.report.looks import BLUE
from qbnnc.study.report.markup import Markup
from qbnnc.study.report.quantities import Quantity, in_order, number
from qbnnc.study.report.scale import window
from qbnnc.study.report.study import Study
from qbnnc.study.sweep.rows import Sensitivity

_MOST_BARS: Final = 32
_SHOWN: Final = ("nll", "error", "rmse")


@dataclass(frozen=True, slots=True)
class Bars:
    """One metric's increase for every layer, the first layer on top."""

    title: str
    label: str
    bars: tuple[tuple[str, float], ...]

    def markup(self, name: str) -> Markup:
        values = "; ".join(f"{layer}: {number(v)}" for layer, v in self.bars)
        description = f"{self.title}. {self.label}, by layer. {values}"
        return panel(self._draw, description, name, 1.1 + 0.27 * len(self.bars), 1.75)

    def _draw(self, axes: Axes) -> None:
        shown = window((v for _, v in self.bars), (0.0,))
        drawn = [0.0 if math.isnan(v) else shown.drawn(v) for _, v in self.bars]
        rows = range(len(self.bars))
        axes.barh(rows, drawn, color=BLUE, height=0.7)
        for row, (_, value) in zip(rows, self.bars, strict=True):
            if side := shown.side(value):
                axes.annotate(
                    number(value, 3), ((1 + side) / 2, row), xycoords=axes.get_yaxis_transform(),
                    xytext=(-4 * side, 0), textcoords="offset points", va="center", fontsize=11,
                    color="black" if math.isnan(value) else "white",
                    ha="right" if side > 0 else "left",
                )  # fmt: skip
        axes.axvline(0, color="#767676", linewidth=1)
        axes.set_title(self.title)
        axes.set_xlabel(self.label)
        axes.set_ylabel("Layer")
        axes.set_yticks(rows, [shortened(layer, 15) for layer, _ in self.bars])
        axes.set_xlim(*shown.padded(0.04))
        axes.invert_yaxis()
        axes.grid(False, axis="y")


def sensitivity_figures(study: Study) -> Iterator[Figure]:
    """One for each network, with its NLL and its error. Nothing without such rows."""
    for network in dict.fromkeys(s.network for s in study.sensitivities):
        rows = [s for s in study.sensitivities if s.network == network]
        keys = {k for s in rows for k in s.metrics.keys() & s.baseline.keys()}
        panels = [_bars(rows, q) for q in in_order(keys) if q.key in _SHOWN]
        bits = list(dict.fromkeys(_bits(s) for s in rows))
        caption = (
            f"What each metric gains when one layer alone is {' or '.join(bits)}, the others stay "
            "at the base bits: long bars are layers that need their bits."
        )
        if len(rows) > _MOST_BARS:
            caption += f" The {_MOST_BARS} largest are drawn; the table has all."
        if panels:
            yield Figure(f"Sensitivity of the layers of {network}", caption, panels, {})


def increase(row: Sensitivity, of: Quantity) -> float:
    """The metric minus its baseline, as it is shown; NaN if either is not there."""
    metric, base = (m.get(of.key, math.nan) for m in (row.metrics, row.baseline))
    return of.factor * (metric - base)


def _bars(rows: Sequence[Sensitivity], of: Quantity) -> Bars:
    several = len({_bits(s) for s in rows}) > 1
    names = [f"{s.layer} {_bits(s)}" if several else s.layer for s in rows]
    bars = list(zip(names, (increase(s, of) for s in rows), strict=True))
    kept = sorted(range(len(bars)), key=lambda i: _size(bars[i][1]), reverse=True)[:_MOST_BARS]
    return Bars(of.name, of.increase, tuple(bars[i] for i in sorted(kept)))


def _size(value: float) -> float:
    return math.inf if math.isnan(value) else abs(value)


def _bits(row: Sensitivity) -> str:
    return f"w{row.weights}a{row.activations}"
