"""Observe the range of every value that will be quantised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.check import random_nodes
from qbnnc.ir.errors import CompileError
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.passes.sites import quantised_sites

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
Progress: TypeAlias = Callable[[int, int], None]

_BATCH = 64


class Observer(Enum):
    """How the ranges of several batches become one."""

    MINMAX = "minmax"  # the global minimum and maximum: nothing seen is clipped
    EMA = "ema"  # the paper's exponential moving average of each batch's minimum and maximum


@dataclass(frozen=True, slots=True)
class Calibration:
    """`passes` draws of every random number are observed (1 where nothing is random).

    `decay` is the weight of a new batch in the moving average; `outputs` observes what leaves the
    graph too. Masks come from `seed`, by the
    counters of section 5, so that calibrating twice gives the same ranges.
    """

    observer: Observer = Observer.MINMAX
    passes: int = 8
    seed: int = 0
    decay: float = 0.1
    outputs: bool = False

    def describe(self, rows: NDArray[np.float32], passes: int) -> str:
        """For the provenance: how, on how much, and a digest of the data."""
        sha = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()
        return (
            f"{self.observer.value} over {len(rows)} rows x {passes} "
            f"pass{'es' * (passes != 1)}, seed {self.seed}, "
            f"data sha256 {sha[:16]}"
        )

    def passes_of(self, graph: Graph) -> int:
        """How often the data is evaluated."""
        return self.passes if any(True for _ in random_nodes(graph)) else 1


def calibrate(
    graph: Graph,
    rows: NDArray[np.float32],
    how: Calibration,
    progress: Progress | None = None,
) -> dict[str, tuple[float, float]]:
    """(minimum, maximum) of each value to be quantised, by name, over `rows` [N, *shape].

    Raises CompileError, at the layer, where a value is NaN or infinite.
    """
    watched = {site.value for site in quantised_sites(graph, outputs=how.outputs)}
    ranges: dict[str, tuple[float, float]] = {}

    def observe(value: Value, array: Array) -> None:
        if value in watched:
            seen = float(array.min()), float(array.max())
            ranges[value.name] = _joined(ranges.get(value.name), seen, how)

    passes = how.passes_of(graph)
    starts = range(0, len(rows), _BATCH)
    for done, (number, start) in enumerate((n, s) for n in range(passes) for s in starts):
        part = rows[start : start + _BATCH]
        with np.errstate(over="ignore", invalid="ignore"):
            evaluate(
                graph, part, Draw.of(how.seed, [number], range(start, start + len(part))), observe
            )
        if progress is not None:
            progress(done + 1, passes * len(starts))
    _refuse_infinite(graph, ranges)
    return ranges


def _joined(
    known: tuple[float, float] | None, seen: tuple[float, float], how: Calibration
) -> tuple[float, float]:
    if known is None:
        return seen
    if how.observer is Observer.MINMAX:
        low, high = np.minimum(known[0], seen[0]), np.maximum(known[1], seen[1])
        return float(low), float(high)  # unlike min and max these keep NaN
    low, high = (old + how.decay * (new - old) for old, new in zip(known, seen, strict=True))
    return low, high


def _refuse_infinite(graph: Graph, ranges: Ranges) -> None:
    locs = {node.output.name: node.loc for node in graph.nodes}
    for name, bounds in ranges.items():
        if not np.isfinite(bounds).all():
            raise CompileError(
                "the calibration data makes this layer's output NaN or infinite: check the "
                "weights and the scale of the data",
                locs.get(name, name),
            )
