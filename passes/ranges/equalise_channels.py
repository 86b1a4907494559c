"""Bring the channels that share a scale to similar ranges: cross-layer equalisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Contraction, Conv2d
from qbnnc.ir.rng import Draw
from qbnnc.ir.types import Array
from qbnnc.passes.options import Quantisation
from qbnnc.passes.parameters import rescaled
from qbnnc.passes.ranges.calibrate import BATCH, Calibration
from qbnnc.passes.ranges.quantisation_points import QuantisationPoint, quantisation_points
from qbnnc.passes.ranges.rows import evenly_spaced
from qbnnc.passes.ranges.tied_channels import FIXED, TiedChannels, channels_of
from qbnnc.support.errors import UserError

Float64 = NDArray[np.float64]

_EXPONENT = 0.5  # half of the difference between ranges is left to the codes
_LARGEST_FACTOR = 32.0
_DEAD = 1e-3  # a channel with so small a part of the range keeps its scale
_MOST_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class EqualiseChannels:
    """Cross-layer equalisation (Nagel et al. 2019) by the ranges of activations alone.

    1. A class of channels (`TiedChannels`) is multiplied by s in the layers that make it. Columns
       of the layers that read it are divided by s. The oracle is the same to rounding.
    2. s = min(sqrt(R/r), 32). r is the class's range at a quantisation point: the greatest
       magnitude in a batch of 64 rows, averaged over the batches of one pass over 256 rows at most.
       R is the greatest r of the points that share the scale. With several points, the least s
       counts, so that no point's range grows.
    3. A class whose r is below R/1000 keeps its scale: unlike rows may wake it.
    4. Declined for layers with sampled weights, which no fitting adapts to the new columns.
       Declined altogether with one scale for a whole weight, and if `equalise` is off.
    """

    rows: NDArray[np.float32] | None
    how: Calibration
    options: Quantisation
    name: str = "equalise-channels"

    def __call__(self, graph: Graph, /) -> Graph:
        if not self.options.equalises:
            return graph
        tied = TiedChannels(graph)
        if tied.count == 1:
            return graph
        if self.rows is None:
            raise UserError("compares ranges on calibration rows, and there are none", self.name)
        points = quantisation_points(graph, outputs=self.options.outputs)
        rows = evenly_spaced(self.rows, _MOST_ROWS)
        factors = _factors(points, tied, _reach(graph, rows, self.how.seed, points))
        return graph if (factors == 1).all() else _scaled(graph, tied, factors)


def _reach(
    graph: Graph, rows: NDArray[np.float32], seed: int, points: tuple[QuantisationPoint, ...]
) -> dict[Value, Float64]:
    """The greatest magnitude of each element in a batch, averaged over the batches: [*shape]."""
    starts = range(0, len(rows), BATCH)
    reach = {point.value: np.zeros(point.value.type.shape) for point in points}

    def observe(value: Value, array: Array) -> None:
        if value in reach:
            reach[value] += np.abs(array).max(axis=(0, 1))

    for start in starts:
        part = rows[start : start + BATCH]
        with np.errstate(over="ignore", invalid="ignore"):
            evaluate(graph, part, Draw.of(seed, [0], range(start, start + len(part))), observe)
    return {value: total / len(starts) for value, total in reach.items()}


def _factors(
    points: tuple[QuantisationPoint, ...], tied: TiedChannels, reach: dict[Value, Float64]
) -> Float64:
    """The factor of each class, by rules 2 and 3; 1 where a range is infinite."""
    room = np.full(tied.count, np.inf)
    for point in points:
        top = max(float(reach[p.value].max()) for p in points if p.group is point.group)
        classes, own = tied.classes(point.value), np.zeros(tied.count)
        np.maximum.at(own, classes[classes >= 0], reach[point.value][classes >= 0])
        live = own > _DEAD * top if np.isfinite(top) else np.zeros(tied.count, bool)
        room[live] = np.minimum(room[live], top / own[live])
    room[FIXED] = 1.0
    factors = np.where(np.isfinite(room), room, 1.0) ** _EXPONENT
    return np.minimum(factors, _LARGEST_FACTOR)


def _scaled(graph: Graph, tied: TiedChannels, factors: Float64) -> Graph:
    """The graph with all classes multiplied by their factors."""
    sources = {node.output: node.inputs[0] for node in graph.nodes if node.inputs}

    def rule(node: Node, build: Builder) -> Value | None:
        if not isinstance(node.op, Contraction):
            return None
        made = _channel_factors(tied.classes(node.output), factors)
        read = _channel_factors(tied.classes(sources[node.output]), factors)
        if (made == 1).all() and (read == 1).all():
            return None
        x, weight, bias = node.inputs
        parameters = (
            rescaled(weight, _weight_factors(node, made, read), 0.0, build, node.loc),
            rescaled(bias, made, 0.0, build, node.loc),
        )
        return build.emit(node.op, x, *parameters, loc=node.loc, name=node.output.name)

    return rewrite(graph, rule)


def _channel_factors(classes: NDArray[np.int64], factors: Float64) -> Float64:
    """The factor of each channel (axis 0): [C]; 1 for a channel that is always 0."""
    channels = channels_of(classes)
    return np.where(channels < 0, 1.0, factors[channels])


def _weight_factors(layer: Node, made: Float64, read: Float64) -> Float64:
    """The factor of each weight, shaped to broadcast against [N, K] or [N, C/groups, kh, kw]."""
    if not isinstance(layer.op, Conv2d):
        return made[:, None] / read
    groups = layer.op.groups
    columns = np.repeat(read.reshape(groups, -1), len(made) // groups, axis=0)
    return (made[:, None] / columns)[..., None, None]
