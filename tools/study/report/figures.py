"""A figure of a page: a legend, panels side by side, and the sentence below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from qbnnc.study.report.canvas import legend
from qbnnc.study.report.chart import Chart
from qbnnc.study.report.looks import Look
from qbnnc.study.report.markup import Markup, element
from qbnnc.study.report.study import seeds


class Panel(Protocol):
    """Something drawn; `name` is unique in the page."""

    def markup(self, name: str) -> Markup: ...


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels that belong together; `looks` is the legend."""

    heading: str
    caption: str
    panels: Sequence[Panel]
    looks: Mapping[str, Look]

    def markup(self, number: int) -> Markup:
        """<figure>, the `number`-th of the page."""
        panels = (p.markup(f"f{number}p{i}") for i, p in enumerate(self.panels))
        caption = (element("strong", f"Figure {number}. {self.heading}."), f" {self.caption}")
        return element(
            "figure",
            legend(self.looks),
            element("div", *panels, class_="panels"),
            element("figcaption", *caption),
        )


def error_bars(charts: Sequence[Chart], *, level: bool) -> str:
    """The sentences on points, bars and marks of charts; `level` if float is a line across."""
    statistics = [s for chart in charts for s in chart.statistics]
    float_ = (
        " Float is the dotted line across, its band also ± one standard deviation." if level else ""
    )
    text = "Points are means"
    if any(s.count > 1 for s in statistics):
        text += f" and bars ± one standard deviation over {seeds(statistics)}"
    else:
        text, float_ = f"Points are single results ({seeds(statistics)})", float_.split(",")[0]
        float_ += "." * bool(float_)
    text += "." + float_
    if any(chart.left_out for chart in charts):
        text += (
            " Triangles at the edge are values far beyond the axis (x: undefined numbers); the "
            "tables have them."
        )
    return text
