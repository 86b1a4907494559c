"""The measured rows, and what they say together: means over seeds, and whether more bits help."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from qbnnc.passes.options import Bits
from tools.bench.few_bits.levers import DEFAULT
from tools.bench.few_bits.measuring import Estimate
from tools.bench.few_bits.networks import cases

FLOAT = "float"  # the lever of rows that compare the float network with itself at another seed
_CERTAIN = 2  # standard errors


@dataclass(frozen=True, slots=True)
class Row:
    """One network at one width with one lever and one seed, or why it could not be compiled.

    `measures` are values and standard errors. `kl` has more: its differences are tested.
    """

    network: str
    bits: str
    lever: str
    seed: int
    samples: int
    task: str
    versions: str
    command: str
    measures: Mapping[str, tuple[float, float]]
    kl: Estimate | None
    failure: str = ""

    @property
    def place(self) -> tuple[object, ...]:
        """The place of this measurement; a newer row replaces an older one of the same place."""
        return self.network, self.bits, self.lever, self.seed, self.samples


class Found:
    """The newest rows of the run with most samples, by network, width and lever."""

    def __init__(self, rows: Iterable[Row]) -> None:
        latest = {row.place: row for row in rows}
        self.titles = {case.name: case.title for case in cases()}
        self.rows = [row for row in latest.values() if row.network in self.titles]
        self.samples = max((row.samples for row in self.rows), default=0)
        self.rows = [row for row in self.rows if row.samples == self.samples]

    def networks(self) -> list[str]:
        measured = {row.network for row in self.rows}
        return [name for name in self.titles if name in measured]

    def widths(self, lever: str) -> list[str]:
        """The widths measured with a lever, most bits first."""
        found = {row.bits for row in self.rows if row.lever == lever and row.bits}
        return sorted(found, key=lambda text: _order(Bits.parse(text)))

    def at(self, network: str, bits: str, lever: str) -> list[Row]:
        """The rows of a cell, one for each seed."""
        place = network, bits, lever
        some = [r for r in self.rows if (r.network, r.bits, r.lever) == place]
        return sorted(some, key=lambda row: row.seed)


def _order(bits: Bits) -> tuple[int, int]:
    return -(bits.weights + bits.activations), -bits.weights


def mean_of(rows: Sequence[Row], name: str) -> tuple[float, float]:
    """A measure's mean over the seeds, and its standard error."""
    values, errors = zip(*(r.measures[name] for r in rows if name in r.measures), strict=True)
    return float(np.mean(values)), mean_error(values, errors)


def mean_error(values: Sequence[float], errors: Sequence[float]) -> float:
    """The standard error of the mean over seeds: within them, or between them if that is more."""
    within = float(np.sqrt(np.sum(np.square(errors)))) / len(errors)
    if len(values) == 1:
        return within
    return max(within, float(np.std(values, ddof=1) / np.sqrt(len(values))))


def raised(found: Found, widths: Sequence[str]) -> Iterator[tuple[str, str, str, float, float]]:
    """Yield network, fewer and more bits where more raise KL; by how much, and its error."""
    order = [Bits.parse(text) for text in widths]
    for network, (few, many) in product(found.networks(), product(order, order)):
        if few == many or few.weights > many.weights or few.activations > many.activations:
            continue
        pairs = [
            (more.kl, fewer.kl)
            for more in found.at(network, str(many), DEFAULT)
            for fewer in found.at(network, str(few), DEFAULT)
            if more.seed == fewer.seed and more.kl is not None and fewer.kl is not None
        ]
        if not pairs:
            continue
        differences = [more.value - fewer.value for more, fewer in pairs]
        errors = [more.error_of_difference(fewer) for more, fewer in pairs]
        mean, error = float(np.mean(differences)), mean_error(differences, errors)
        if mean > _CERTAIN * error:
            yield network, str(few), str(many), mean, error
