"""Metrics against the amount of a distribution shift (Figures 10, 13, 14, 17, 18)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from qbnnc.study.report.bits import legend
from qbnnc.study.report.chart import Chart, Line, error_bars
from qbnnc.study.report.drawing import Figure, Look
from qbnnc.study.report.grouping import Configuration, Grouped, Statistic, precision_name, statistic
from qbnnc.study.report.metrics import Metric, in_order, number
from qbnnc.study.results import Precision, Result

# kind of shift: heading, label of its axis, the amount that changes nothing
_SHIFTS: Final = {
    "rotation": ("Rotated test data", "Rotation, degrees", 0.0),
    "brightness": ("Brighter test data", "Brightness factor", 1.0),
    "shift": ("Test data moved sideways", "Shift, share of width", 0.0),
}


def shift_figures(grouped: Grouped) -> Iterator[Figure]:
    """A figure for each kind of shift, with a panel for each metric."""
    for kind in dict.fromkeys(s.shift for r in grouped.results for s in r.shifts):
        shown = _shown(grouped, kind)
        heading, label, _ = _SHIFTS.get(kind, (f"Shift: {kind}", "Amount of the shift", None))
        shifted = [s for r in grouped.results for s in r.shifts if s.shift == kind]
        amounts = sorted({s.amount for s in shifted} | _none(kind))
        ticks = tuple((amount, number(amount)) for amount in amounts)
        charts = []
        for metric in in_order(key for s in shifted for key in s.metrics):
            lines = tuple(_lines(grouped, shown, kind, metric))
            # float is always on the axis, and everything if there is no float
            kept = [line for line in lines if line.look.precision is Precision.FLOAT] or lines
            always = tuple(s.mean for line in kept for s in line.statistics)
            charts.append(Chart(metric.name, label, metric.axis, ticks, lines, always))
        bits = " and ".join(dict.fromkeys(c.bits for c in shown if c.bits))
        which = f"Quantised networks are {bits}." if bits else "Float networks."
        panels = [chart.image() for chart in charts]
        yield Figure(heading, f"{which} {error_bars(charts)}", panels, legend(grouped))


def _shown(grouped: Grouped, kind: str) -> list[Configuration]:
    """For each network and precision, the shifted configuration with the most bits."""

    def have(result: Result) -> bool:
        return any(s.shift == kind for s in result.shifts)

    return [
        next(c for c in found if c.precision is precision)
        for found in (grouped.extremes(network, have) for network in grouped.networks)
        for precision in dict.fromkeys(c.precision for c in found)
    ]


def _lines(
    grouped: Grouped, shown: Iterable[Configuration], kind: str, metric: Metric
) -> Iterator[Line]:
    for c in shown:
        name = f"{c.network.label}, {precision_name(c.precision)}"
        look = Look.of(c.network, grouped.networks, c.precision)
        yield Line(name, look, _points(grouped.groups[c], kind, metric))


def _points(
    results: Iterable[Result], kind: str, metric: Metric
) -> tuple[tuple[float, Statistic], ...]:
    """The statistics of every amount, from the unshifted data on."""
    values: dict[float, list[float | None]] = {}
    for result in (r for r in results if any(s.shift == kind for s in r.shifts)):
        for amount in _none(kind):
            values.setdefault(amount, []).append(result.metrics.get(metric.key))
        for s in (s for s in result.shifts if s.shift == kind):
            values.setdefault(s.amount, []).append(s.metrics.get(metric.key))
    found = ((amount, statistic(values[amount])) for amount in sorted(values))
    return tuple((amount, s.times(metric.factor)) for amount, s in found if s)


def _none(kind: str) -> set[float]:
    """The amount that changes nothing, if it is known."""
    return {_SHIFTS[kind][2]} if kind in _SHIFTS else set()
