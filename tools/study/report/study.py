"""What the rows of a study say together: configurations, and statistics over their seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qbnnc.study.sweep.rows import Header, Precision, Result, Row, Sensitivity

_ORDER: Final = tuple(Precision)


@dataclass(frozen=True, slots=True)
class Network:
    """What gets a colour of its own; the label tells it from the others as shortly as it can."""

    name: str
    method: str
    label: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """What seeds are repeated of; the bits are None for float."""

    network: Network
    precision: Precision
    weights: int | None
    activations: int | None

    @property
    def bits(self) -> str:
        """ "w8a7", or "" for float."""
        return "" if self.weights is None else f"w{self.weights}a{self.activations}"

    @property
    def label(self) -> str:
        """ "PTQ w8a7", or "float"."""
        return f"{precision_name(self.precision)} {self.bits}".strip()

    @property
    def total(self) -> tuple[int, int]:
        """Orders configurations by their bits, weights and activations together first."""
        return (self.weights or 0) + (self.activations or 0), self.activations or 0


@dataclass(frozen=True, slots=True)
class Statistic:
    """Mean and sample standard deviation over `count` seeds; no deviation of one seed or of inf."""

    mean: float
    deviation: float | None
    count: int

    def times(self, factor: float) -> Statistic:
        deviation = None if self.deviation is None else self.deviation * factor
        return Statistic(self.mean * factor, deviation, self.count)


@dataclass(frozen=True, slots=True)
class Study:
    """The rows, sorted: `groups` are the results of each configuration, one for each seed."""

    headers: tuple[Header, ...]
    groups: dict[Configuration, tuple[Result, ...]]
    failures: tuple[tuple[Configuration, Result], ...]
    sensitivities: tuple[Sensitivity, ...]

    @property
    def networks(self) -> list[Network]:
        """In the order of the rows."""
        return list(dict.fromkeys(c.network for c in self.groups))

    def of(self, network: Network, precision: Precision) -> list[Configuration]:
        """The configurations with results, most bits first."""
        return [c for c in self.groups if c.network == network and c.precision is precision]

    def statistic(self, configuration: Configuration, metric: str) -> Statistic | None:
        """Of a metric on test data."""
        return statistic(r.metrics.get(metric) for r in self.groups[configuration])

    def confusion(self, configuration: Configuration, metric: str) -> Statistic | None:
        """Of a metric on confusion data."""
        return statistic((r.ood or {}).get(metric) for r in self.groups[configuration])

    def extremes(self, network: Network, have: Callable[[Result], bool]) -> list[Configuration]:
        """Float, and the most and fewest bits of each precision, of results that `have` it."""
        found: list[Configuration] = []
        for precision in Precision:
            some = [c for c in self.of(network, precision) if any(map(have, self.groups[c]))]
            if some:
                ends = (max(some, key=lambda c: c.total), min(some, key=lambda c: c.total))
                found += dict.fromkeys(ends)
        return found


def study(rows: Iterable[Row]) -> Study:
    """Networks in the order of the rows, then float, PTQ, QAT, then most bits first."""
    everything = list(rows)
    results = [row for row in everything if isinstance(row, Result)]
    networks = _networks(results)
    grouped: dict[Configuration, list[Result]] = {}
    for result in (r for r in results if r.error is None):
        grouped.setdefault(_configuration(result, networks), []).append(result)
    ranked = sorted(grouped, key=lambda c: _rank(c, list(networks.values())))
    return Study(
        headers=tuple(row for row in everything if isinstance(row, Header)),
        groups={c: tuple(sorted(grouped[c], key=lambda r: r.seed)) for c in ranked},
        failures=tuple((_configuration(r, networks), r) for r in results if r.error is not None),
        sensitivities=tuple(row for row in everything if isinstance(row, Sensitivity)),
    )


def statistic(values: Iterable[float | None]) -> Statistic | None:
    """Of the values that are there; None if none is."""
    array = np.array([v for v in values if v is not None], np.float64)
    if not array.size:
        return None
    with np.errstate(all="ignore"):
        mean = float(array.mean())
        deviation = float(array.std(ddof=1)) if array.size > 1 else np.nan
    return Statistic(mean, deviation if np.isfinite(deviation) else None, array.size)


def precision_name(precision: Precision) -> str:
    """ "float", "PTQ" or "QAT"."""
    return "float" if precision is Precision.FLOAT else precision.value.upper()


def seeds(statistics: Iterable[Statistic]) -> str:
    """ "n = 3 seeds", "n = 1 to 3 seeds": of how many seeds these are."""
    counts = {s.count for s in statistics} or {0}
    if len(counts) > 1:
        return f"n = {min(counts)} to {max(counts)} seeds"
    return f"n = {max(counts)} seed{'s' * (counts != {1})}"


def _networks(results: Iterable[Result]) -> dict[tuple[str, str], Network]:
    """By name and method; labelled by what they do not all share, by both if that is nothing."""
    pairs = list(dict.fromkeys((r.network, r.method) for r in results))
    names, methods = len({n for n, _ in pairs}), len({m for _, m in pairs})

    def label(name: str, method: str) -> str:
        if len(pairs) > 1 and 1 in (names, methods):
            return name if methods == 1 else method
        return f"{name} ({method})" if method else name

    return {pair: Network(*pair, label(*pair)) for pair in pairs}


def _configuration(result: Result, networks: Mapping[tuple[str, str], Network]) -> Configuration:
    network = networks[result.network, result.method]
    return Configuration(network, result.precision, result.weights, result.activations)


def _rank(c: Configuration, networks: Sequence[Network]) -> tuple[int, int, int, int]:
    bits = -(c.weights or 0), -(c.activations or 0)
    return networks.index(c.network), _ORDER.index(c.precision), *bits
