"""Line charts of statistics with error bars: against bits, or against the amount of a shift."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from matplotlib.axes import Axes

from qbnnc.study.report.axis import Window, window
from qbnnc.study.report.drawing import Image, Look, image, shortened
from qbnnc.study.report.grouping import Statistic
from qbnnc.study.report.metrics import number

_DODGE: Final = 0.012  # share of the axis between the error bars of two lines
_LABELLED: Final = 3  # at most this many values off the axis are written beside their marks


@dataclass(frozen=True, slots=True)
class Line:
    """Statistics at ascending x; without points but with a `level`, a line across."""

    name: str
    look: Look
    points: tuple[tuple[float, Statistic], ...] = ()
    level: Statistic | None = None

    @property
    def statistics(self) -> list[Statistic]:
        return [s for _, s in self.points] + ([self.level] if self.level else [])

    def moved(self, by: float) -> Line:
        """The line with all x moved, so that error bars of several stand side by side."""
        return replace(self, points=tuple((x + by, s) for x, s in self.points))


@dataclass(frozen=True, slots=True)
class Chart:
    """One panel; `ticks` are places on x with their texts, `always` are values never left out."""

    title: str
    x_label: str
    y_label: str
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    always: tuple[float, ...] = ()

    @property
    def statistics(self) -> list[Statistic]:
        return [s for line in self.lines for s in line.statistics]

    @property
    def window(self) -> Window:
        return window((s.mean for s in self.statistics), self.always)

    @property
    def left_out(self) -> bool:
        """Whether some value is not on the axis."""
        shown = self.window
        return any(shown.side(s.mean) for s in self.statistics)

    def image(self) -> Image:
        lines = "; ".join(f"{line.name}: {_spoken(line, dict(self.ticks))}" for line in self.lines)
        against = f"{self.title}. {self.y_label}, against {self.x_label.lower()}. "
        return image(self._draw, against + lines)

    def _draw(self, axes: Axes) -> None:
        shown = self.window
        places = [x for x, _ in self.ticks]
        span = (max(places) - min(places)) or 1.0
        axes.set_title(shortened(self.title, 32))
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(shortened(self.y_label, 22))
        axes.set_xticks(places, [text for _, text in self.ticks])
        axes.set_xlim(min(places) - 0.08 * span, max(places) + 0.08 * span)
        for line in self.lines:
            _draw_level(axes, line, shown)
        curves = [line for line in self.lines if line.points]
        for i, line in enumerate(curves):
            _draw_points(axes, line.moved(_DODGE * span * (i - (len(curves) - 1) / 2)), shown)
        outside = [(x, s.mean) for c in curves for x, s in c.points if shown.side(s.mean)]
        if len(outside) <= _LABELLED:
            _label_outside(axes, outside, shown)
        axes.set_ylim(*_limits(self.statistics, shown))


def error_bars(charts: Sequence[Chart]) -> str:
    """The sentences on points, bars, levels and marks of charts."""
    counts = {s.count for chart in charts for s in chart.statistics} or {0}
    many = "" if counts == {1} else "s"
    seeds = f"n = {' to '.join(map(str, sorted({min(counts), max(counts)})))} seed{many}"
    level = "Float is the dotted line across"
    if max(counts) > 1:
        text = f"Points are means and bars ± one standard deviation over {seeds}."
        level += ", its band also ± one standard deviation"
    else:
        text = f"Points are single results ({seeds})."
    if any(line.level for chart in charts for line in chart.lines):
        text += f" {level}."
    if any(chart.left_out for chart in charts):
        text += (
            " Triangles at the edge are values far beyond the axis (x: undefined numbers); the "
            "tables have them."
        )
    return text


def _spoken(line: Line, ticks: dict[float, str]) -> str:
    if line.level is not None:
        return number(line.level.mean)
    return ", ".join(f"{ticks.get(x, number(x))}: {number(s.mean)}" for x, s in line.points)


def _draw_level(axes: Axes, line: Line, shown: Window) -> None:
    """The mean across, and a band of one standard deviation."""
    level = line.level
    if level is None or not math.isfinite(level.mean):
        return
    axes.axhline(shown.drawn(level.mean), color=line.look.colour, linestyle=line.look.dash)
    if level.deviation:
        low, high = (shown.drawn(level.mean + s * level.deviation) for s in (-1, 1))
        axes.axhspan(low, high, color=line.look.colour, alpha=0.12, linewidth=0)


def _draw_points(axes: Axes, line: Line, shown: Window) -> None:
    """A line through all points, error bars on the axis, and marks at its edge.

    A triangle stands for a value beyond the edge, an x for an undefined one.
    """
    look, inside = line.look, [(x, s) for x, s in line.points if not shown.side(s.mean)]
    xs, ys = [x for x, _ in line.points], [shown.drawn(s.mean) for _, s in line.points]
    axes.plot(xs, ys, look.dash, color=look.colour)
    axes.errorbar(
        [x for x, _ in inside], [s.mean for _, s in inside], [s.deviation or 0 for _, s in inside],
        color=look.colour, marker=look.marker, markerfacecolor=look.face,
        capsize=3 * any(s.deviation for _, s in inside), linestyle="none", zorder=4,
    )  # fmt: skip
    for x, s in line.points:
        if side := shown.side(s.mean):
            mark = "x" if math.isnan(s.mean) else "^" if side > 0 else "v"
            axes.plot(
                [x], [(1 + side) / 2], mark, color=look.colour, markerfacecolor=look.face,
                markersize=8, clip_on=False, zorder=5, transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _label_outside(axes: Axes, outside: Iterable[tuple[float, float]], shown: Window) -> None:
    """The values beside their marks, one below the other."""
    for row, (x, value) in enumerate(outside):
        side, left = shown.side(value), x > sum(axes.get_xlim()) / 2
        axes.annotate(
            number(value, 3), (x, (1 + side) / 2), xycoords=axes.get_xaxis_transform(),
            xytext=(-8 if left else 8, side * (-13 * row - 9)), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=11,
        )  # fmt: skip


def _limits(statistics: Iterable[Statistic], shown: Window) -> tuple[float, float]:
    """The window and the error bars in it, which may add half of it on either side."""
    inside = [s for s in statistics if shown.side(s.mean) == 0]
    half = shown.height / 2
    low = min((s.mean - (s.deviation or 0) for s in inside), default=shown.low)
    high = max((s.mean + (s.deviation or 0) for s in inside), default=shown.high)
    return Window(max(low, shown.low - half), min(high, shown.high + half)).padded(0.07)
