"""Tables: all configurations, all results, shifts, failures and sensitivities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qbnnc.study.report.grouping import Grouped, Statistic, statistic
from qbnnc.study.report.metrics import in_order, number, padded
from qbnnc.study.report.sensitivity import increase
from qbnnc.study.results import Result, Shifted
from qbnnc.support.text import human_bytes

_COSTS = {"macs": "MACs of a row", "milliseconds": "CPU ms of a row"}


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first cell of a row names it."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def results_table(grouped: Grouped) -> Table:
    """A row for each configuration: mean ± standard deviation of every metric."""
    metrics = in_order(key for r in grouped.results for key in r.metrics)
    ood = in_order(key for r in grouped.results for key in r.ood or {})
    sizes = list(dict.fromkeys(key for r in grouped.results for key in r.sizes))
    costs = [key for key in _COSTS if any(key in r.costs for r in grouped.results)]
    header = [
        *("Network", "Configuration", "Seeds"),
        *(m.label for m in metrics),
        *(f"OOD data: {m.label}" for m in ood),
        *(f".{key} file" for key in sizes),
        *(_COSTS[key] for key in costs),
    ]
    rows = [
        [
            *(c.network.label, c.label, str(len(group))),
            *(_cell(grouped.statistic(c, m.key), m.factor) for m in metrics),
            *(_cell(grouped.statistic(c, m.key, ood=True), m.factor) for m in ood),
            *(_size(group, key) for key in sizes),
            *(_cost(group, key) for key in costs),
        ]
        for c, group in grouped.groups.items()
    ]
    return Table("Mean ± standard deviation over the seeds", header, rows)


def runs_table(grouped: Grouped) -> Table:
    """A row for each result."""
    metrics = in_order(key for r in grouped.results for key in r.metrics)
    header = ["Network", "Configuration", "Seed", "Samples", *(m.label for m in metrics), "Seconds"]
    rows = [
        [
            *(c.network.label, c.label, str(r.seed), str(r.samples)),
            *(padded(r.metrics[m.key] * m.factor) if m.key in r.metrics else "" for m in metrics),
            f"{r.seconds:.1f}",
        ]
        for c, group in grouped.groups.items()
        for r in group
    ]
    return Table("Every result", header, rows)


def shifts_table(grouped: Grouped) -> Table:
    """A row for each configuration and shift."""
    metrics = in_order(key for r in grouped.results for s in r.shifts for key in s.metrics)
    header = ["Network", "Configuration", "Shift", "Amount", *(m.label for m in metrics)]
    rows = [
        [
            *(c.network.label, c.label, kind, number(amount)),
            *(_cell(statistic(s.metrics.get(m.key) for s in same), m.factor) for m in metrics),
        ]
        for c, group in grouped.groups.items()
        for (kind, amount), same in _by_shift(group).items()
    ]
    return Table("Shifted test data: mean ± standard deviation over the seeds", header, rows)


def failures_table(grouped: Grouped) -> Table:
    """A row for each item without a result, and the reason."""
    rows = [[c.network.label, c.label, str(r.seed), r.error or ""] for c, r in grouped.failures]
    header = ("Network", "Configuration", "Seed", "What went wrong")
    return Table("Configurations without a result", header, rows)


def sensitivity_table(grouped: Grouped) -> Table:
    """A row for each layer at other bits: metrics, and their increase over the baseline."""
    metrics = in_order(key for s in grouped.sensitivities for key in s.metrics)
    header = [*("Layer", "Network", "Bits"), *(t for m in metrics for t in (m.label, m.increase))]
    rows = [
        [
            *(s.layer, s.network, f"w{s.weights}a{s.activations}"),
            *(
                padded(value)
                for m in metrics
                for value in (s.metrics.get(m.key, math.nan) * m.factor, increase(s, m))
            ),
        ]
        for s in grouped.sensitivities
    ]
    return Table("One layer at other bits, the others at the base bits", header, rows)


def _by_shift(results: Iterable[Result]) -> dict[tuple[str, float], list[Shifted]]:
    found: dict[tuple[str, float], list[Shifted]] = {}
    for shifted in (s for r in results for s in r.shifts):
        found.setdefault((shifted.shift, shifted.amount), []).append(shifted)
    return found


def _cell(measured: Statistic | None, factor: float) -> str:
    if measured is None:
        return ""
    shown = measured.times(factor)
    spread = "" if shown.deviation is None else f" ± {padded(shown.deviation, 2)}"
    return padded(shown.mean) + spread


def _cost(results: Iterable[Result], key: str) -> str:
    costs = [r.costs[key] for r in results if key in r.costs]
    return number(sum(costs) / len(costs)) if costs else ""


def _size(results: Iterable[Result], key: str) -> str:
    sizes = [r.sizes[key] for r in results if key in r.sizes]
    return human_bytes(round(sum(sizes) / len(sizes))) if sizes else ""
