"""What a study found, in sentences computed from its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Final

from qbnnc.study.report.bits import Slice, slices
from qbnnc.study.report.markup import Markup
from qbnnc.study.report.quantities import Quantity, in_order, padded
from qbnnc.study.report.study import Configuration, Network, Statistic, Study, precision_name
from qbnnc.study.report.tables import table
from qbnnc.study.sweep.rows import Precision
from qbnnc.support.text import counted

_TOLERANCE: Final = 0.01  # of float's NLL
_COMPARED: Final = ("error", "rmse", "nll", "ece")


def findings(study: Study) -> Iterator[tuple[str, str]]:
    """The extent, how far the bits of each network can fall, and what to keep in mind.

    Each is a subject, which may be "", and its sentence.
    """
    yield "", _extent(study)
    for network in study.networks:
        for precision in (Precision.PTQ, Precision.QAT):
            yield from _lowest(study, network, precision)
    if noisy := [n.label for n in study.networks if _is_noisy(study, n)]:
        yield (
            "",
            f"Differences of 1 % are within the noise of {' and '.join(noisy)}: the NLL of float "
            "itself has a larger standard deviation over its seeds.",
        )
    if count := len(study.failures):
        have = "item has" if count == 1 else "items have"
        yield "", f"{count} {have} no result; Failures says why."


def most_bits_table(study: Study) -> Markup | None:
    """The metrics at the most bits beside those of float; None without any quantised result."""
    results = [r for group in study.groups.values() for r in group]
    metrics = [q for q in in_order(key for r in results for key in r.metrics) if q.key in _COMPARED]
    rows = [
        [n.label, c.label, *(_beside_float(study, n, c, q) for q in metrics)]
        for n in study.networks
        for precision in (Precision.PTQ, Precision.QAT)
        for c in study.of(n, precision)[:1]
    ]
    header = ["Network", "Most bits", *(q.label for q in metrics)]
    return table("With the most bits, and float in brackets", header, rows) if rows else None


def _beside_float(study: Study, network: Network, c: Configuration, of: Quantity) -> str:
    pair = study.statistic(c, of.key), _float(study, network, of.key)
    now, base = ("–" if s is None else padded(s.mean * of.factor, 3) for s in pair)
    return f"{now} ({base})"


def _extent(study: Study) -> str:
    names = ", ".join(n.label for n in study.networks) or "no network"
    results = sum(map(len, study.groups.values()))
    seeds = len({r.seed for group in study.groups.values() for r in group})
    return (
        f"{counted(results, 'result')} of {counted(len(study.groups), 'configuration')}, "
        f"{counted(seeds, 'seed')}: {names}."
    )


def _lowest(study: Study, network: Network, precision: Precision) -> Iterator[tuple[str, str]]:
    """How far along each slice NLL stays within 1 % of float."""
    base = _float(study, network, "nll")
    found = study.of(network, precision)
    if base is None or not math.isfinite(base.mean) or not found:
        return
    limit = base.mean + _TOLERANCE * abs(base.mean)
    texts = (_along(study, s, found, limit) for s in slices(study))
    best = min(found, key=partial(_nll, study))
    subject = f"{network.label}, {precision_name(precision)}"
    if reached := " and ".join(text for text in texts if text):
        yield subject, f"NLL stays within 1 % of float down to {reached}."
    elif _nll(study, best) <= limit:
        yield subject, f"NLL is within 1 % of float at {best.bits}."
    else:
        nll, of_float = padded(_nll(study, best), 3), padded(base.mean, 3)
        yield (
            subject,
            "NLL is within 1 % of float at none of the bits tried; nearest is "
            f"{best.bits} with {nll} nats, float has {of_float}.",
        )


def _along(study: Study, along: Slice, found: Sequence[Configuration], limit: float) -> str:
    """ "5 activation bits (weights at 8 bits)"; empty if not even the first is within."""
    steps = sorted(
        (c for c in found if c in along.places), key=along.places.__getitem__, reverse=True
    )
    within = list(takewhile(lambda c: _nll(study, c) <= limit, steps))
    if not within:
        return ""
    lowest = dict(along.ticks)[along.places[within[-1]]]
    notes = [along.fixed] if along.fixed else []
    notes += ["the fewest tried"] if len(within) == len(steps) else []
    return f"{lowest} {along.x_label.lower()}" + f" ({', '.join(notes)})" * bool(notes)


def _nll(study: Study, c: Configuration) -> float:
    """Infinite where it is missing or undefined."""
    found = study.statistic(c, "nll")
    return math.inf if found is None or math.isnan(found.mean) else found.mean


def _is_noisy(study: Study, network: Network) -> bool:
    base = _float(study, network, "nll")
    return bool(base and base.deviation and base.deviation > _TOLERANCE * abs(base.mean))


def _float(study: Study, network: Network, metric: str) -> Statistic | None:
    found = study.of(network, Precision.FLOAT)
    return study.statistic(found[0], metric) if found else None
