"""Rows of studies grouped by configuration, and statistics over the seeds of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qbnnc.study.results import Header, Precision, Result, Row, Sensitivity

_ORDER: Final = tuple(Precision)


@dataclass(frozen=True, slots=True)
class Network:
    """A network with its method; `label` is the shortest text that tells it from the others."""

    name: str
    method: str
    label: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """A network at one precision and width, repeated for every seed; float has no bits."""

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
        """The sort key by bits: the sum of both widths first."""
        return (self.weights or 0) + (self.activations or 0), self.activations or 0


@dataclass(frozen=True, slots=True)
class Statistic:
    """Mean and sample standard deviation over `count` seeds.

    `deviation` is None for one seed, and where it is not finite.
    """

    mean: float
    deviation: float | None
    count: int

    def times(self, factor: float) -> Statistic:
        deviation = None if self.deviation is None else self.deviation * factor
        return Statistic(self.mean * factor, deviation, self.count)


@dataclass(frozen=True, slots=True)
class Grouped:
    """The rows in order: `groups` holds a configuration's results, one for each seed."""

    headers: tuple[Header, ...]
    groups: dict[Configuration, tuple[Result, ...]]
    failures: tuple[tuple[Configuration, Result], ...]
    sensitivities: tuple[Sensitivity, ...]

    @property
    def results(self) -> list[Result]:
        """All results that have metrics."""
        return [result for group in self.groups.values() for result in group]

    @property
    def networks(self) -> list[Network]:
        """The networks in the order of the rows."""
        return list(dict.fromkeys(c.network for c in self.groups))

    def at(self, network: Network, precision: Precision) -> list[Configuration]:
        """The configurations with results, most bits first."""
        return [c for c in self.groups if c.network == network and c.precision is precision]

    def statistic(self, c: Configuration, metric: str, *, ood: bool = False) -> Statistic | None:
        """A metric on test data, or on out-of-distribution data."""
        results = self.groups[c]
        return statistic(((r.ood or {}) if ood else r.metrics).get(metric) for r in results)

    def extremes(self, network: Network, have: Callable[[Result], bool]) -> list[Configuration]:
        """Float, and the most and fewest bits of each precision, among results that `have` it."""
        found: list[Configuration] = []
        for precision in Precision:
            some = [c for c in self.at(network, precision) if any(map(have, self.groups[c]))]
            if some:
                ends = (max(some, key=lambda c: c.total), min(some, key=lambda c: c.total))
                found += dict.fromkeys(ends)
        return found


def group(rows: Iterable[Row]) -> Grouped:
    """Group by network in the order of the rows, then float, PTQ, QAT, then most bits first."""
    everything = list(rows)
    results = [row for row in everything if isinstance(row, Result)]
    networks = _networks(results)
    grouped: dict[Configuration, list[Result]] = {}
    for result in (r for r in results if r.error is None):
        grouped.setdefault(_configuration(result, networks), []).append(result)
    ranked = sorted(grouped, key=lambda c: _rank(c, list(networks.values())))
    return Grouped(
        headers=tuple(row for row in everything if isinstance(row, Header)),
        groups={c: tuple(sorted(grouped[c], key=lambda r: r.seed)) for c in ranked},
        failures=tuple((_configuration(r, networks), r) for r in results if r.error is not None),
        sensitivities=tuple(row for row in everything if isinstance(row, Sensitivity)),
    )


def statistic(values: Iterable[float | None]) -> Statistic | None:
    """The statistic of the values that are not None; None if there are none."""
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


def _networks(results: Iterable[Result]) -> dict[tuple[str, str], Network]:
    """Networks by name and method, labelled by whichever of the two differs, or by both."""
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
