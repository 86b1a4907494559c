"""Observe the range of every value that will be quantised."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.check import random_nodes
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ids import vocabularies
from qbnnc.ir.inputs import inputs_of
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Clamp, Embedding, Tensor
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.passes.options import Bits, Quantisation, Scales
from qbnnc.passes.ranges.function_domains import functions_of, refuse_undefined
from qbnnc.passes.ranges.histograms import Histograms
from qbnnc.passes.ranges.quantisation_points import (
    QuantisationPoint,
    clamped,
    quantisation_points,
)
from qbnnc.passes.ranges.range_search import Codes
from qbnnc.passes.ranges.rows import stretched_inputs
from qbnnc.passes.ranges.saturation import saturation_limits
from qbnnc.passes.ranges.scores import score_depths
from qbnnc.support.errors import CompileError, UserError
from qbnnc.support.text import counted

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
Progress: TypeAlias = Callable[[int, int], None]

_FEW_WEIGHT_BITS = 4  # up to so many a clipped range beats the range of all values
_STRETCHED_ROWS = 128
BATCH = 64


class Observer(Enum):
    """The rule by which values of several batches become one range."""

    MINMAX = "minmax"  # the global minimum and maximum: nothing seen is clipped
    EMA = "ema"  # the paper's exponential moving average of each batch's minimum and maximum
    MSE = "mse"  # the range that minimises the squared error of the codes


@dataclass(frozen=True, slots=True)
class Calibration:
    """The options of a calibration.

    `passes` samples of every random number are observed, or 1 where nothing is random. `observer`
    None is MSE for activations and for weights of 4 bits or less, and MINMAX for other weights. EMA
    means MINMAX for weights. `weights`, if given, is their observer instead. MSE also sees rows
    that are `stretch` times as far from the mean row, so that inputs unlike the calibration data
    are hardly clipped; 1 is no such rows. `decay` weighs a new batch in the moving average.
    `outputs` observes the outputs of the graph too. Masks come from `seed`, by the counters of
    section 5, so that calibrating twice gives the same ranges.
    """

    observer: Observer | None = None
    passes: int = 8
    seed: int = 0
    decay: float = 0.1
    outputs: bool = False
    weights: Observer | None = None
    stretch: float = 1.5

    @property
    def activation_observer(self) -> Observer:
        """The observer that was chosen for activations, or MSE."""
        return self.observer or Observer.MSE

    def weight_observer(self, bits: int) -> Observer:
        """MSE or MINMAX: as was chosen, or the better one for weights of so many bits."""
        if (chosen := self.weights or self.observer) is None:
            return Observer.MSE if bits <= _FEW_WEIGHT_BITS else Observer.MINMAX
        return Observer.MSE if chosen is Observer.MSE else Observer.MINMAX

    def describe(self, rows: NDArray[np.float32], passes: int, widths: Iterable[Bits]) -> str:
        """Text for the provenance: observers, number of rows, and a digest of the data."""
        sha = hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()
        far = self.activation_observer is Observer.MSE and self.stretch != 1
        clipped = any(self.weight_observer(b.weights) is Observer.MSE for b in widths)
        return (
            f"{self.activation_observer.value} over {counted(len(rows), 'row')} x "
            f"{counted(passes, 'pass', 'passes')}, seed {self.seed}, data sha256 {sha[:16]}"
            f"{f', stretched by {self.stretch:g}' * far}{', mse of weights' * clipped}"
        )

    def passes_of(self, graph: Graph) -> int:
        """The number of times that the data is evaluated."""
        return self.passes if any(True for _ in random_nodes(graph)) else 1


def calibrate(
    graph: Graph,
    rows: NDArray[np.float32],
    how: Calibration,
    progress: Progress | None = None,
    quantisation: Quantisation | None = None,
) -> dict[str, tuple[float, float]]:
    """(low, high) of each value to be quantised, by name, over `rows` [N, *shape].

    Raises CompileError, at the layer, where a value is NaN or infinite.
    """
    quantisation = Quantisation() if quantisation is None else quantisation
    points = quantisation_points(graph, outputs=how.outputs)
    searched = _searched(points, how, quantisation)
    far = rows[:0]
    if searched and how.stretch != 1:
        taken = inputs_of(graph), vocabularies(graph)
        far = stretched_inputs(rows, *taken, how.stretch, _STRETCHED_ROWS)
    sweep = _Sweep(graph, how, len(rows), len(far), progress)
    extremes = _Extremes({point.value for point in points}, how)
    given = _Given({node.inputs[0] for node in functions_of(graph)})
    histograms = Histograms(searched, how.stretch)
    sweep.run(rows, 0, extremes, given, histograms)
    refuse_undefined(graph, given.ranges)
    _refuse_infinite(graph, extremes.ranges)
    histograms.turn_to_stretched()
    _observe_tables(graph, histograms, *([] if how.observer is Observer.EMA else [extremes]))
    sweep.run(far, len(rows), histograms)
    return extremes.ranges | histograms.ranges()


def _searched(
    points: tuple[QuantisationPoint, ...], how: Calibration, quantisation: Quantisation
) -> dict[Value, tuple[Value, Codes]]:
    """The group and codes of each point whose range is to minimise the squared error."""
    groups = {point.group for point in points}
    pow2 = quantisation.scales is Scales.POW2
    codes = {
        point.value: Codes(point.bits(quantisation), pow2=pow2)
        for point in points
        if point.value in groups
    }
    return {
        point.value: (point.group, codes[point.group])
        for point in points
        if how.activation_observer is Observer.MSE and not point.is_state
    }


def _observe_tables(graph: Graph, *watchers: _Watcher) -> None:
    """Show the whole table of each embedding, which stands for ids that the rows lack."""
    for node in graph.nodes:
        if isinstance(node.op, Embedding):
            table = node.inputs[1]
            numbers, reader = graph.constants[table][None, None], graph.only_reader(node.output)
            if reader is not None and isinstance(reader.op, Clamp):
                numbers = reader.op.evaluate(Tensor(numbers, table.type))
            for watcher in watchers:
                watcher.observe(clamped(graph, node), numbers)


class _Watcher(Protocol):
    def observe(self, value: Value, array: Array) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Sweep:
    """Evaluations in batches, with `passes` samples of the random numbers.

    There are `rows` calibration rows, and `far` stretched ones after them.
    """

    graph: Graph
    how: Calibration
    rows: int
    far: int
    progress: Progress | None

    def run(self, rows: NDArray[np.float32], first: int, *watchers: _Watcher) -> None:
        """Show every value to the watchers; the rows are numbered from `first`."""
        passes = self.how.passes_of(self.graph)
        starts = range(0, len(rows), BATCH)

        depths, limits = score_depths(self.graph), saturation_limits(self.graph)

        def observe(value: Value, array: Array) -> None:
            if (depth := depths.get(value)) is not None:
                array = np.maximum(array, array.max(axis=-1, keepdims=True) - np.float32(depth))
            if (limit := limits.get(value)) is not None and np.isfinite(array).all():
                array = np.clip(array, -np.float32(limit), np.float32(limit))
            for watcher in watchers:
                watcher.observe(value, array)

        counts = (-(-self.rows // BATCH), -(-self.far // BATCH))
        before, total = (passes * counts[0] if first else 0), passes * sum(counts)
        for done, (draw, start) in enumerate((n, s) for n in range(passes) for s in starts):
            part = rows[start : start + BATCH]
            row = first + start
            numbers = Draw.of(self.how.seed, [draw], range(row, row + len(part)))
            with np.errstate(over="ignore", invalid="ignore"):
                evaluate(self.graph, part, numbers, observe)
            if self.progress is not None:
                self.progress(before + done + 1, total)


class _Extremes:
    """Minimum and maximum of each value, or their moving average."""

    def __init__(self, watched: set[Value], how: Calibration) -> None:
        self.watched, self.how = watched, how
        self.ranges: dict[str, tuple[float, float]] = {}

    def observe(self, value: Value, array: Array) -> None:
        if value in self.watched:
            seen = float(array.min()), float(array.max())
            self.ranges[value.name] = _joined(self.ranges.get(value.name), seen, self.how)


class _Given:
    """The least and the greatest number that each value held."""

    def __init__(self, watched: set[Value]) -> None:
        self.ranges = dict.fromkeys(watched, (np.inf, -np.inf))

    def observe(self, value: Value, array: Array) -> None:
        if (known := self.ranges.get(value)) is not None:
            low, high = np.minimum(known[0], array.min()), np.maximum(known[1], array.max())
            self.ranges[value] = float(low), float(high)  # unlike min and max these keep NaN


def _joined(
    known: tuple[float, float] | None, seen: tuple[float, float], how: Calibration
) -> tuple[float, float]:
    if known is None:
        return seen
    if how.observer is not Observer.EMA:
        low, high = np.minimum(known[0], seen[0]), np.maximum(known[1], seen[1])
        return float(low), float(high)  # unlike min and max these keep NaN
    low, high = (old + how.decay * (new - old) for old, new in zip(known, seen, strict=True))
    return low, high


def _refuse_infinite(graph: Graph, ranges: Ranges) -> None:
    locs = {node.output.name: node.loc for node in graph.nodes}
    for name, bounds in ranges.items():
        if not np.isfinite(bounds).all():
            raise CompileError(
                "the calibration data makes this layer's output NaN or infinite",
                locs.get(name, name),
                remedy="check the weights and the scale of the data",
            )


def calibration_of(model: Model) -> NDArray[np.float32]:
    """The calibration rows of a FLOAT model; UserError, saying how to give them, if none."""
    if model.calibration is None:
        raise UserError(
            "has no calibration data",
            place="the model",
            remedy="give typical inputs with `calibration=...`, 100 rows or more, or save them "
            "with the model: qbnnc.save(..., calibration=x)",
        )
    return model.calibration
