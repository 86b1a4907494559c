"""The cost of fewer bits in one layer alone, while all others keep the base bits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from qbnnc.ir.head import Task
from qbnnc.passes.mixed_precision.layers import Kind, Layer
from qbnnc.passes.mixed_precision.measured import Bench, Measured, divergence, standard_error
from qbnnc.passes.options import Bits, Quantisation
from qbnnc.support.errors import UserError

Progress: TypeAlias = Callable[[str, int, int], None]
"""Receives the next network's name, how many networks are measured, and of how many."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A width that the weights, or the activations, of each layer get in turn."""

    kind: Kind
    width: int

    @staticmethod
    def parse_all(text: str, base: Bits) -> tuple[Tried, ...]:
        """Read "w4,a4", each once; UserError for anything else, and for widths of the base.

        >>> [str(tried) for tried in Tried.parse_all("w4,a3", Bits())]
        ['w4', 'a3']
        """
        found = []
        for part in text.split(","):
            match = re.fullmatch(r"([wa])([2-8])", part.strip().lower())
            if match is None:
                raise UserError(
                    "write widths of weights and activations, each from 2 to 8, such as w4,a4",
                    place=f"`tried` {text}",
                )
            tried = Tried(Kind(match[1]), int(match[2]))
            if tried.kind.of(base) == tried.width:
                raise UserError(
                    f"{tried} is what `bits={base}` has already",
                    place=f"`tried` {text}",
                    remedy="try fewer bits",
                )
            found.append(tried)
        return tuple(dict.fromkeys(found))

    def __str__(self) -> str:
        return f"{self.kind.value}{self.width}"


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """The metrics of the whole network when one layer has `bits`, which `tried` made of the base's.

    `nll_error` is the standard error, over the rows, of the difference between this NLL and the
    baseline's. It is None where a likelihood is 0. `divergence` is KL(base || this) in nats, the
    mean over rows and seeds. `saved` counts the bits that the layer's numbers need no more.
    """

    layer: Layer
    tried: Tried
    bits: Bits
    metrics: Mapping[str, float]
    nll_error: float | None
    divergence: float
    saved: int


@dataclass(frozen=True, slots=True)
class Sensitivities:
    """The costs of all layers, in the order of the network. Metrics are the means over the seeds.

    The metrics have the names of a study: ape, for one, is the average predictive entropy.
    """

    network: str
    method: str
    task: Task
    base: Quantisation
    rows: int
    samples: int
    seeds: tuple[int, ...]
    layers: tuple[Layer, ...]
    baseline: Mapping[str, float]
    costs: tuple[Cost, ...]
    configuration: Mapping[str, str]

    def bits(self, kind: Kind) -> int:
        """The bits of all weights, or all activations, at the base bits."""
        widths = [(layer.numbers(kind), kind.of(layer.bits(self.base))) for layer in self.layers]
        return sum(numbers * width for numbers, width in widths)


def costs_of(
    bench: Bench, baseline: Measured, tried: Sequence[Tried], progress: Progress | None = None
) -> tuple[Cost, ...]:
    """Measure each layer at each tried width that it has numbers of and does not have already."""
    base = bench.compiler.base
    pairs = [
        (layer, one)
        for layer in bench.compiler.layers
        for one in tried
        if layer.numbers(one.kind) and one.kind.of(layer.bits(base)) != one.width
    ]
    costs = []
    for done, (layer, one) in enumerate(pairs):
        if progress is not None:
            progress(f"{layer.name} {one}", done, len(pairs))
        costs.append(_cost(bench, baseline, layer, one))
    return tuple(costs)


def _cost(bench: Bench, baseline: Measured, layer: Layer, tried: Tried) -> Cost:
    base = bench.compiler.base
    before = layer.bits(base)
    bits = tried.kind.changed(before, tried.width)
    measured = bench.integers(layer.changed(base, bits))
    error = standard_error(measured.row_nll, baseline.row_nll)
    narrower = tried.kind.of(before) - tried.width
    return Cost(
        layer,
        tried,
        bits,
        measured.metrics,
        error,
        mean_divergence(baseline, measured),
        narrower * layer.numbers(tried.kind),
    )


def mean_divergence(baseline: Measured, measured: Measured) -> float:
    """KL(baseline || measured) in nats, the mean over rows and seeds."""
    pairs = zip(baseline.predictions, measured.predictions, strict=True)
    return float(np.mean([divergence(a, b) for a, b in pairs]))
