"""Observations of the layers of a loop, whose one weight must fit all steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Contraction
from qbnnc.ir.products import float32_product
from qbnnc.ir.types import Array
from qbnnc.passes.fitting.observations import MOST_OBSERVATIONS, channels_last, im2col, positions
from qbnnc.passes.fitting.paired_evaluation import Batch
from qbnnc.passes.fitting.rounding import Moments, MomentSum
from qbnnc.passes.ranges.repeated_steps import FEWEST, weights_of_layers

Float64 = NDArray[np.float64]


class LoopObservations:
    """What the layers of each loop of a FLOAT graph read and give, over all of their steps.

    The graph is evaluated on all batches once, when the first loop asks. Other layers are not
    observed.
    """

    def __init__(self, graph: Graph, batches: Sequence[Batch]) -> None:
        self._graph, self._batches = graph, batches
        weights = weights_of_layers(graph)
        counts = Counter(weights.values())
        self._layers = {n.output: n for n, key in weights.items() if counts[key] >= FEWEST}
        self._keys = {output: weights[node] for output, node in self._layers.items()}
        self._counts = counts
        self._sums: dict[Hashable, _Sums] = {}

    def loop(self, output: Value) -> Hashable | None:
        """What the layers of one loop have in common; None if the layer stands alone."""
        return self._keys.get(output)

    def moments(self, loop: Hashable) -> Moments:
        """Moments of what the layers read and give."""
        return self._observed()[loop].moments.moments()

    def products(self, loop: Hashable) -> Float64:
        """The mean of x x^T [K, K] over what the layers multiply their weight with."""
        return self._observed()[loop].mean_product()

    def _observed(self) -> Mapping[Hashable, _Sums]:
        if not self._sums:
            self._sums = {
                self._keys[output]: _Sums(node) for output, node in reversed(self._layers.items())
            }
            for batch in self._batches:
                self._observe(batch)
        return self._sums

    def _observe(self, batch: Batch) -> None:
        inputs = {node.inputs[0] for node in self._layers.values()}
        seen: dict[Value, Array] = {}

        def observe(value: Value, array: Array) -> None:
            if value in inputs:
                seen[value] = array
            if (node := self._layers.get(value)) is not None:
                key = self._keys[value]
                rows = sum(batch.rows.shape[0] for batch in self._batches) * self._counts[key]
                step = -(-rows * positions(array) // MOST_OBSERVATIONS)
                self._sums[key].add(node, seen[node.inputs[0]], array, step)

        evaluate(self._graph, batch.rows, batch.draw, observe)


class _Sums:
    """Sums over the layers of one loop, which are like the layer `node`."""

    def __init__(self, node: Node) -> None:
        shape = node.inputs[1].type.shape
        self.shape, self.count = shape, 0
        self.moments = MomentSum(prod(shape[1:]), shape[0])
        self.products = np.zeros((prod(shape[1:]), prod(shape[1:])))

    def add(self, node: Node, x: Array, y: Array, step: int) -> None:
        """Add what one layer reads and gives: x and y are [1, B, ...], every `step`th is taken."""
        assert isinstance(node.op, Contraction)
        wide = np.broadcast_to(x, (1, y.shape[1], *x.shape[2:]))
        rows = im2col(node.op, self.shape, wide[0], step)
        self.moments.add(rows, channels_last(y[0])[::step])
        self.products += float32_product(rows.T, rows)
        self.count += len(rows)

    def mean_product(self) -> Float64:
        symmetric: Float64 = (self.products + self.products.T) / (2 * max(1, self.count))
        return symmetric
