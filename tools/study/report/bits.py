"""Metrics against the bits of activations and of weights (Figures 4 to 9, 11, 12, 15, 16)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from qbnnc.study.report.chart import Chart, Line
from qbnnc.study.report.figures import Figure, error_bars
from qbnnc.study.report.looks import INK, Look, look, of
from qbnnc.study.report.quantities import Quantity, in_order
from qbnnc.study.report.study import Configuration, Network, Statistic, Study, precision_name
from qbnnc.study.sweep.rows import Precision

Measure = Callable[[Configuration], Statistic | None]


@dataclass(frozen=True, slots=True)
class Slice:
    """Configurations along one axis, at their places; `fixed` says what stays."""

    heading: str
    x_label: str
    fixed: str
    places: dict[Configuration, int]
    ticks: tuple[tuple[float, str], ...]


def slices(study: Study) -> Iterator[Slice]:
    """Activations at the most weight bits, weights at the most activation bits.

    If neither has two widths, the configurations that there are, in the order of their bits.
    """
    quantised = [c for c in study.groups if c.precision is not Precision.FLOAT]
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
    """`bits` are those that are fixed and those that move; None without two that move."""
    for most in sorted({f for f, _ in bits.values()}, reverse=True):
        places = {c: m for c, (f, m) in bits.items() if f == most}
        if len(set(places.values())) > 1:
            ticks = tuple((float(m), str(m)) for m in sorted(set(places.values())))
            return Slice(
                f"Changing {moving} bits",
                f"{moving.capitalize()} bits",
                f"{fixed}s at {most} bits",
                places,
                ticks,
            )
    return None


def bit_figures(study: Study) -> Iterator[Figure]:
    """One for each slice, with a panel for each metric on test and on confusion data."""
    for along in slices(study):
        charts = [chart for chart in _charts(study, along) if chart.lines]
        fixed = f"{along.fixed.capitalize()}. " * bool(along.fixed)
        level = any(line.level for chart in charts for line in chart.lines)
        caption = fixed + error_bars(charts, level=level)
        yield Figure(along.heading, caption, charts, looks(study, along.places))


def looks(study: Study, shown: Iterable[Configuration]) -> dict[str, Look]:
    """The legend: networks by colour and marker, precisions by dash."""
    networks = study.networks
    entries = {n.label: look(n, networks, Precision.QAT) for n in networks}
    present = {c.precision for c in (*shown, *study.groups) if c in study.groups}
    for precision in Precision:
        if precision in present:
            entries[precision_name(precision)] = of(INK, "", precision)
    return entries


def _charts(study: Study, along: Slice) -> Iterator[Chart]:
    results = [r for group in study.groups.values() for r in group]
    for q in in_order(key for r in results for key in r.metrics):
        yield _chart(study, along, q, q.name, partial(study.statistic, metric=q.key))
    for q in in_order(key for r in results for key in r.ood or {}):
        title = f"{q.name}, confusion data"
        yield _chart(study, along, q, title, partial(study.confusion, metric=q.key))


def _chart(study: Study, along: Slice, shown: Quantity, title: str, measure: Measure) -> Chart:
    lines = tuple(_lines(study, along, shown.factor, measure))
    most = (line.points[-1][1] for line in lines if line.points)
    levels = (line.level for line in lines if line.level)
    always = tuple(s.mean for s in (*most, *levels))
    return Chart(title, along.x_label, shown.axis, along.ticks, lines, always)


def _lines(study: Study, along: Slice, factor: float, measure: Measure) -> Iterator[Line]:
    for network in study.networks:
        for precision in Precision:
            line = _line(study, along, network, precision, factor, measure)
            if line.statistics:
                yield line


def _line(
    study: Study,
    along: Slice,
    network: Network,
    precision: Precision,
    factor: float,
    measure: Measure,
) -> Line:
    of_line = {c: s.times(factor) for c in study.of(network, precision) if (s := measure(c))}
    name = f"{network.label}, {precision_name(precision)}"
    appearance = look(network, study.networks, precision)
    if precision is Precision.FLOAT:
        return Line(name, appearance, level=next(iter(of_line.values()), None))
    shown = sorted((c for c in of_line if c in along.places), key=along.places.__getitem__)
    points = tuple((float(along.places[c]), of_line[c]) for c in shown)
    return Line(name, appearance, points)
