"""The findings of a study, in sentences computed from its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Final

from qbnnc.study.report.bits import Slice, slices
from qbnnc.study.report.grouping import (
    Configuration,
    Grouped,
    Network,
    Statistic,
    precision_name,
)
from qbnnc.study.report.metrics import Metric, in_order, padded
from qbnnc.study.report.tables import Table
from qbnnc.study.results import Precision
from qbnnc.support.text import counted

_TOLERANCE: Final = 0.01  # of float's NLL
_COMPARED: Final = ("error", "rmse", "nll", "ece")


def findings(grouped: Grouped) -> Iterator[tuple[str, str]]:
    """Yield the extent, the fewest bits that each network can do with, and caveats.

    A finding is a subject, which may be "", and its sentence.
    """
    yield "", _extent(grouped)
    for network in grouped.networks:
        for precision in (Precision.PTQ, Precision.QAT):
            yield from _lowest(grouped, network, precision)
    if noisy := [n.label for n in grouped.networks if _is_noisy(grouped, n)]:
        yield (
            "",
            f"Differences of 1 % are within the noise of {' and '.join(noisy)}: the NLL of float "
            "itself has a larger standard deviation over its seeds.",
        )
    if count := len(grouped.failures):
        have = "item has" if count == 1 else "items have"
        yield "", f"{count} {have} no result; Failures says why."


def most_bits_table(grouped: Grouped) -> Table | None:
    """The metrics at the most bits beside those of float; None without any quantised result."""
    keys = {key for r in grouped.results for key in r.metrics}
    metrics = [metric for metric in in_order(keys) if metric.key in _COMPARED]
    rows = [
        [n.label, c.label, *(_beside_float(grouped, n, c, m) for m in metrics)]
        for n in grouped.networks
        for precision in (Precision.PTQ, Precision.QAT)
        for c in grouped.at(n, precision)[:1]
    ]
    header = ["Network", "Most bits", *(m.label for m in metrics)]
    return Table("With the most bits, and float in brackets", header, rows) if rows else None


def _beside_float(grouped: Grouped, network: Network, c: Configuration, metric: Metric) -> str:
    pair = grouped.statistic(c, metric.key), _float(grouped, network, metric.key)
    now, base = ("–" if s is None else padded(s.mean * metric.factor, 3) for s in pair)
    return f"{now} ({base})"


def _extent(grouped: Grouped) -> str:
    names = ", ".join(n.label for n in grouped.networks) or "no network"
    results, seeds = len(grouped.results), len({r.seed for r in grouped.results})
    return (
        f"{counted(results, 'result')} of {counted(len(grouped.groups), 'configuration')}, "
        f"{counted(seeds, 'seed')}: {names}."
    )


def _lowest(grouped: Grouped, network: Network, precision: Precision) -> Iterator[tuple[str, str]]:
    """The fewest bits along each slice at which NLL stays within 1 % of float."""
    base = _float(grouped, network, "nll")
    found = grouped.at(network, precision)
    if base is None or not math.isfinite(base.mean) or not found:
        return
    limit = base.mean + _TOLERANCE * abs(base.mean)
    texts = (_along(grouped, s, found, limit) for s in slices(grouped))
    best = min(found, key=partial(_nll, grouped))
    subject = f"{network.label}, {precision_name(precision)}"
    if reached := " and ".join(text for text in texts if text):
        yield subject, f"NLL stays within 1 % of float down to {reached}."
    elif _nll(grouped, best) <= limit:
        yield subject, f"NLL is within 1 % of float at {best.bits}."
    else:
        nll, of_float = padded(_nll(grouped, best), 3), padded(base.mean, 3)
        yield (
            subject,
            "NLL is within 1 % of float at none of the bits tried; nearest is "
            f"{best.bits} with {nll} nats, float has {of_float}.",
        )


def _along(grouped: Grouped, along: Slice, found: Sequence[Configuration], limit: float) -> str:
    """ "5 activation bits (weights at 8 bits)"; empty if not even the first is within."""
    steps = sorted(
        (c for c in found if c in along.places), key=along.places.__getitem__, reverse=True
    )
    within = list(takewhile(lambda c: _nll(grouped, c) <= limit, steps))
    if not within:
        return ""
    lowest = dict(along.ticks)[along.places[within[-1]]]
    notes = [along.fixed] if along.fixed else []
    notes += ["the fewest tried"] if len(within) == len(steps) else []
    return f"{lowest} {along.x_label.lower()}" + f" ({', '.join(notes)})" * bool(notes)


def _nll(grouped: Grouped, c: Configuration) -> float:
    """Infinite where it is missing or undefined."""
    found = grouped.statistic(c, "nll")
    return math.inf if found is None or math.isnan(found.mean) else found.mean


def _is_noisy(grouped: Grouped, network: Network) -> bool:
    base = _float(grouped, network, "nll")
    return bool(base and base.deviation and base.deviation > _TOLERANCE * abs(base.mean))


def _float(grouped: Grouped, network: Network, metric: str) -> Statistic | None:
    found = grouped.at(network, Precision.FLOAT)
    return grouped.statistic(found[0], metric) if found else None
