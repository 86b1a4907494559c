"""Lines of statistics with error bars: against bits, or against the amount of a shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from matplotlib.axes import Axes

from qbnnc.study.report.canvas import panel, shortened
from qbnnc.study.report.looks import Look
from qbnnc.study.report.markup import Markup
from qbnnc.study.report.quantities import number
from qbnnc.study.report.scale import Window, window
from qbnnc.study.report.study import Statistic

_DODGE: Final = 0.012  # of the axis: how far apart lines stand
_LABELLED: Final = 3  # up to so many values off the axis are written beside their marks


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

    def markup(self, name: str) -> Markup:
        return panel(self._draw, self._description(), name)

    def _description(self) -> str:
        lines = (f"{line.name}: {_spoken(line, self.ticks)}" for line in self.lines)
        return f"{self.title}. {self.y_label}, against {self.x_label.lower()}. " + "; ".join(lines)

    def _draw(self, axes: Axes) -> None:
        shown = self.window
        places = [x for x, _ in self.ticks]
        span = (max(places) - min(places)) or 1.0
        axes.set_title(shortened(self.title, 32))
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(shortened(self.y_label, 22))
        axes.set_xticks(places, [text for _, text in self.ticks])
        axes.set_xlim(min(places) - 0.08 * span, max(places) + 0.08 * span)
        for line in (line for line in self.lines if line.level):
            _draw_level(axes, line, shown)
        curves = [line for line in self.lines if line.points]
        for i, line in enumerate(curves):
            _draw_points(axes, line.moved(_DODGE * span * (i - (len(curves) - 1) / 2)), shown)
        outside = [(x, s.mean) for c in curves for x, s in c.points if shown.side(s.mean)]
        if len(outside) <= _LABELLED:
            _label_outside(axes, outside, shown)
        axes.set_ylim(*_limits(self.statistics, shown))


def _spoken(line: Line, ticks: tuple[tuple[float, str], ...]) -> str:
    if line.level is not None:
        return number(line.level.mean)
    names = dict(ticks)
    return ", ".join(f"{names.get(x, number(x))}: {number(s.mean)}" for x, s in line.points)


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
    """A line through all points; those on the axis with error bars."""
    look = line.look
    face = look.colour if look.filled else "white"
    xs, ys = [x for x, _ in line.points], [shown.drawn(s.mean) for _, s in line.points]
    axes.plot(xs, ys, look.dash, color=look.colour)
    inside = [(x, s) for x, s in line.points if not shown.side(s.mean)]
    axes.errorbar(
        [x for x, _ in inside], [s.mean for _, s in inside], [s.deviation or 0 for _, s in inside],
        color=look.colour, marker=look.marker, markerfacecolor=face,
        capsize=3 * any(s.deviation for _, s in inside), linestyle="none", zorder=4,
    )  # fmt: skip
    for x, s in line.points:
        if side := shown.side(s.mean):
            _draw_outside(axes, look, x, s.mean, side)


def _draw_outside(axes: Axes, look: Look, x: float, value: float, side: int) -> None:
    """A triangle at the edge, or an x for what is undefined."""
    mark = "x" if math.isnan(value) else "^" if side > 0 else "v"
    axes.plot(
        [x], [(1 + side) / 2], mark, color=look.colour, markersize=8, clip_on=False, zorder=5,
        markerfacecolor=look.colour if look.filled else "white",
        transform=axes.get_xaxis_transform(),
    )  # fmt: skip


def _label_outside(axes: Axes, outside: Sequence[tuple[float, float]], shown: Window) -> None:
    """The values beside their marks, one below the other."""
    for row, (x, value) in enumerate(outside):
        side, left = shown.side(value), x > sum(axes.get_xlim()) / 2
        axes.annotate(
            number(value, 3), (x, (1 + side) / 2), xycoords=axes.get_xaxis_transform(),
            xytext=(-8 if left else 8, side * (-13 * row - 9)), textcoords="offset points",
            ha="right" if left else "left", va="center", fontsize=11,
        )  # fmt: skip


def _limits(statistics: list[Statistic], shown: Window) -> tuple[float, float]:
    """The window and the error bars in it, which may add half of it on either side."""
    inside = [s for s in statistics if shown.side(s.mean) == 0]
    ends = [(s.mean - (s.deviation or 0), s.mean + (s.deviation or 0)) for s in inside]
    half = shown.height / 2
    low = max(min((a for a, _ in ends), default=shown.low), shown.low - half)
    high = min(max((b for _, b in ends), default=shown.high), shown.high + half)
    return Window(low, high).padded(0.07)
