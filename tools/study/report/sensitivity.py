"""The cost of one layer at fewer bits: a bar for each layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from matplotlib.axes import Axes

from qbnnc.study.report.axis import window
from qbnnc.study.report.drawing import BLUE, Figure, Image, image, shortened
from qbnnc.study.report.grouping import Grouped
from qbnnc.study.report.metrics import Metric, in_order, number
from qbnnc.study.results import Sensitivity

_MOST_BARS: Final = 32
_SHOWN: Final = ("nll", "error", "rmse")


def sensitivity_figures(grouped: Grouped) -> Iterator[Figure]:
    """A figure for each network, with its NLL and its error. No figure without such rows."""
    for network in dict.fromkeys(s.network for s in grouped.sensitivities):
        rows = [s for s in grouped.sensitivities if s.network == network]
        keys = {k for s in rows for k in s.metrics.keys() & s.baseline.keys()}
        panels = [_bars(rows, metric) for metric in in_order(keys) if metric.key in _SHOWN]
        bits = list(dict.fromkeys(_bits(s) for s in rows))
        caption = (
            f"Each bar is the increase of a metric when one layer alone is {' or '.join(bits)} and "
            "the others stay at the base bits: layers with long bars need their bits."
        )
        if len(rows) > _MOST_BARS:
            caption += f" The {_MOST_BARS} largest are drawn; the table has all."
        if panels:
            yield Figure(f"Sensitivity of the layers of {network}", caption, panels, {})


def increase(row: Sensitivity, metric: Metric) -> float:
    """The metric minus its baseline, as it is shown; NaN if either is missing."""
    value, base = (m.get(metric.key, math.nan) for m in (row.metrics, row.baseline))
    return metric.factor * (value - base)


def _bars(rows: Sequence[Sensitivity], metric: Metric) -> Image:
    """The increase for every layer, the first layer on top."""
    several = len({_bits(s) for s in rows}) > 1
    increases = [increase(s, metric) for s in rows]
    sizes = [math.inf if math.isnan(v) else abs(v) for v in increases]
    kept = sorted(sorted(range(len(rows)), key=sizes.__getitem__, reverse=True)[:_MOST_BARS])
    names = [f"{s.layer} {_bits(s)}" if several else s.layer for s in rows]
    labels, values = [names[i] for i in kept], [increases[i] for i in kept]

    def draw(axes: Axes) -> None:
        shown = window(values, (0.0,))
        places = range(len(values))
        drawn = [0.0 if math.isnan(v) else shown.drawn(v) for v in values]
        axes.barh(places, drawn, color=BLUE, height=0.7)
        for place, value in enumerate(values):
            if side := shown.side(value):
                axes.annotate(
                    number(value, 3), ((1 + side) / 2, place), xycoords=axes.get_yaxis_transform(),
                    xytext=(-4 * side, 0), textcoords="offset points", va="center", fontsize=11,
                    color="black" if math.isnan(value) else "white",
                    ha="right" if side > 0 else "left",
                )  # fmt: skip
        axes.axvline(0, color="#767676", linewidth=1)
        axes.set_title(metric.name)
        axes.set_xlabel(metric.increase)
        axes.set_ylabel("Layer")
        axes.set_yticks(places, [shortened(label, 15) for label in labels])
        axes.set_xlim(*shown.padded(0.04))
        axes.invert_yaxis()
        axes.grid(False, axis="y")

    spoken = "; ".join(f"{label}: {number(v)}" for label, v in zip(labels, values, strict=True))
    alt = f"{metric.name}. {metric.increase}, by layer. {spoken}"
    return image(draw, alt, 1.1 + 0.27 * len(values), 1.75)


def _bits(row: Sensitivity) -> str:
    return f"w{row.weights}a{row.activations}"
