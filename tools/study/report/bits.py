"""Metrics against the bits of activations and of weights (Figures 4 to 9, 11, 12, 15, 16)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qbnnc.study.report.chart import Chart, Line, error_bars
from qbnnc.study.report.drawing import INK, Figure, Look
from qbnnc.study.report.grouping import Configuration, Grouped, precision_name
from qbnnc.study.report.metrics import Metric, in_order
from qbnnc.study.results import Precision


@dataclass(frozen=True, slots=True)
class Slice:
    """Configurations along one axis, at their places; `fixed` says what stays the same."""

    heading: str
    x_label: str
    fixed: str
    places: dict[Configuration, int]
    ticks: tuple[tuple[float, str], ...]


def slices(grouped: Grouped) -> Iterator[Slice]:
    """Activations at the most weight bits, weights at the most activation bits.

    If neither has two widths, there is one slice with all configurations in the order of bits.
    """
    quantised = [c for c in grouped.groups if c.precision is not Precision.FLOAT]
    pairs = [(c, c.weights or 0, c.activations or 0) for c in quantised]
    found = [
        _slice("activation", "weight", {c: (w, a) for c, w, a in pairs}),
        _slice("weight", "activation", {c: (a, w) for c, w, a in pairs}),
    ]
    yield from (s for s in found if s)
    if not any(found) and len({c.bits for c in quantised}) > 1:
        names = list(dict.fromkeys(c.bits for c in sorted(quantised, key=lambda c: c.total)))
        places = {c: names.index(c.bits) for c in quantised}
        ticks = tuple((float(i), name) for i, name in enumerate(names))
        yield Slice("Changing both bit widths", "Weight and activation bits", "", places, ticks)


def _slice(moving: str, fixed: str, bits: dict[Configuration, tuple[int, int]]) -> Slice | None:
    """`bits` are the fixed and the moving widths; None unless two widths move."""
    for most in sorted({f for f, _ in bits.values()}, reverse=True):
        places = {c: m for c, (f, m) in bits.items() if f == most}
        if len(set(places.values())) > 1:
            ticks = tuple((float(m), str(m)) for m in sorted(set(places.values())))
            heading, label = f"Changing {moving} bits", f"{moving.capitalize()} bits"
            return Slice(heading, label, f"{fixed}s at {most} bits", places, ticks)
    return None


def bit_figures(grouped: Grouped) -> Iterator[Figure]:
    """A figure for each slice, with a panel for each metric on either kind of data."""
    for along in slices(grouped):
        charts = [chart for chart in _charts(grouped, along) if chart.lines]
        fixed = f"{along.fixed.capitalize()}. " * bool(along.fixed)
        panels = [chart.image() for chart in charts]
        yield Figure(along.heading, fixed + error_bars(charts), panels, legend(grouped))


def legend(grouped: Grouped) -> dict[str, Look]:
    """Networks by colour and marker, precisions by dash."""
    looks = {n.label: Look.of(n, grouped.networks, Precision.QAT) for n in grouped.networks}
    present = {c.precision for c in grouped.groups}
    return looks | {precision_name(p): Look(INK, "", p) for p in Precision if p in present}


def _charts(grouped: Grouped, along: Slice) -> Iterator[Chart]:
    for metric in in_order(key for r in grouped.results for key in r.metrics):
        yield _chart(grouped, along, metric, ood=False)
    for metric in in_order(key for r in grouped.results for key in r.ood or {}):
        yield _chart(grouped, along, metric, ood=True)


def _chart(grouped: Grouped, along: Slice, metric: Metric, *, ood: bool) -> Chart:
    lines = tuple(_lines(grouped, along, metric, ood=ood))
    most = (line.points[-1][1] for line in lines if line.points)
    levels = (line.level for line in lines if line.level)
    always = tuple(s.mean for s in (*most, *levels))
    title = f"{metric.name}, OOD data" if ood else metric.name
    return Chart(title, along.x_label, metric.axis, along.ticks, lines, always)


def _lines(grouped: Grouped, along: Slice, metric: Metric, *, ood: bool) -> Iterator[Line]:
    for network in grouped.networks:
        for precision in Precision:
            found = {
                c: s.times(metric.factor)
                for c in grouped.at(network, precision)
                if (s := grouped.statistic(c, metric.key, ood=ood))
            }
            name = f"{network.label}, {precision_name(precision)}"
            look = Look.of(network, grouped.networks, precision)
            if precision is Precision.FLOAT:
                line = Line(name, look, level=next(iter(found.values()), None))
            else:
                points = [(float(along.places[c]), found[c]) for c in found if c in along.places]
                line = Line(name, look, tuple(sorted(points, key=lambda point: point[0])))
            if line.statistics:
                yield line
