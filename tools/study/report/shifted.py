"""Metrics against the amount of a distribution shift (Figures 10, 13, 14, 17, 18)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from qbnnc.study.report.bits import looks
from qbnnc.study.report.chart import Chart, Line
from qbnnc.study.report.figures import Figure, error_bars
from qbnnc.study.report.looks import look
from qbnnc.study.report.quantities import Quantity, in_order, number
from qbnnc.study.report.study import Configuration, Statistic, Study, precision_name, statistic
from qbnnc.study.sweep.rows import Precision, Result

# kind of shift: heading, label of its axis, the amount that changes nothing
_SHIFTS: Final = {
    "rotation": ("Rotated test data", "Rotation, degrees", 0.0),
    "brightness": ("Brighter test data", "Brightness factor", 1.0),
    "shift": ("Test data moved sideways", "Shift, share of width", 0.0),
}


def shift_figures(study: Study) -> Iterator[Figure]:
    """One for each kind of shift, with a panel for each metric."""
    results = [r for group in study.groups.values() for r in group]
    for kind in dict.fromkeys(s.shift for r in results for s in r.shifts):
        shown = _shown(study, kind)
        heading, label, _ = _SHIFTS.get(kind, (f"Shift: {kind}", "Amount of the shift", None))
        of_kind = [s for r in results for s in r.shifts if s.shift == kind]
        ticks = tuple((a, number(a)) for a in sorted({s.amount for s in of_kind} | _none(kind)))
        charts = [
            _chart(q, label, ticks, tuple(_lines(study, shown, kind, q)))
            for q in in_order(key for s in of_kind for key in s.metrics)
        ]
        caption = f"{_sentence(shown)} {error_bars(charts, level=False)}"
        yield Figure(heading, caption, charts, looks(study, ()))


def _shown(study: Study, kind: str) -> list[Configuration]:
    """Of each network and precision the one with most bits among those that were shifted."""

    def have(result: Result) -> bool:
        return any(s.shift == kind for s in result.shifts)

    found: dict[tuple[str, str, Precision], Configuration] = {}
    for network in study.networks:
        for c in study.extremes(network, have):
            found.setdefault((network.name, network.method, c.precision), c)
    return list(found.values())


def _chart(
    of: Quantity, label: str, ticks: tuple[tuple[float, str], ...], lines: tuple[Line, ...]
) -> Chart:
    """Float is always on the axis, and everything if there is no float."""
    dotted = [line for line in lines if line.look.dash == ":"] or lines
    always = tuple(s.mean for line in dotted for s in line.statistics)
    return Chart(of.name, label, of.axis, ticks, lines, always)


def _lines(study: Study, shown: Iterable[Configuration], kind: str, of: Quantity) -> Iterator[Line]:
    for c in shown:
        name = f"{c.network.label}, {precision_name(c.precision)}"
        points = _points(study.groups[c], kind, of)
        yield Line(name, look(c.network, study.networks, c.precision), points)


def _points(
    results: Iterable[Result], kind: str, of: Quantity
) -> tuple[tuple[float, Statistic], ...]:
    """The statistics of every amount, from the unshifted data on."""
    values: dict[float, list[float | None]] = {}
    for result in (r for r in results if any(s.shift == kind for s in r.shifts)):
        for amount in _none(kind):
            values.setdefault(amount, []).append(result.metrics.get(of.key))
        for s in (s for s in result.shifts if s.shift == kind):
            values.setdefault(s.amount, []).append(s.metrics.get(of.key))
    found = ((amount, statistic(values[amount])) for amount in sorted(values))
    return tuple((amount, s.times(of.factor)) for amount, s in found if s)


def _none(kind: str) -> set[float]:
    """The amount that changes nothing, if it is known."""
    return {_SHIFTS[kind][2]} if kind in _SHIFTS else set()


def _sentence(shown: Iterable[Configuration]) -> str:
    bits = list(dict.fromkeys(c.bits for c in shown if c.bits))
    return f"Quantised networks are {' and '.join(bits)}." if bits else "Float networks."
