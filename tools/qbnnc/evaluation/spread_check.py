"""Warn where quantisation changes the spread of the samples, or the order of rows by it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, log, sqrt
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from qbnnc.evaluation.order import Order, order_of
from qbnnc.evaluation.predictors import float_samples
from qbnnc.evaluation.rounded_layers import with_rounded_layers
from qbnnc.evaluation.spread import SpreadRatio, row_spreads, spread_ratio
from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Contraction
from qbnnc.ir.types import Array
from qbnnc.passes.mixed_precision.layers import INPUT, Layer, layers_of
from qbnnc.passes.pipeline import Options, pipeline, ready_model
from qbnnc.support.errors import SpreadWarning

_FACTOR = 1.2  # a deviation that users should know of
_LEAST_ORDER = 0.95  # of a rank correlation: docs/explanation/few-bits.md counts it as kept
_LEAST_INFORMATION = 1e-3  # nats: members that agree so well have no spread to keep
_FEWEST_ROWS, _ROWS, _SAMPLES = 16, 64, 16
_SEED = 1  # not that of the calibration, whose masks the layers were fitted to
_OPERATIONS = 3e10  # multiplications of the search for a layer: some seconds
_LEAST_PART = 0.5  # of the logarithm of the ratio: a layer that alone gives less is not named
_MOST_BITS = 8  # a layer that has so many has nothing to gain


def warn_of_spread(
    model: Model,
    simulated: Model,
    rows: NDArray[np.float32],
    options: Options,
    stacklevel: int = 3,
) -> None:
    """SpreadWarning if the samples of a SIMULATED Model spread otherwise than those of `model`.

    `model` is the FLOAT Model that it was made of, `rows` [N, *shape] are calibration data, and
    both see the same random numbers. The spread is mutual information, or the standard deviation of
    the first output. Nothing is told unless the means over the rows differ by a factor of more than
    1.2, beyond two standard errors, or else the rank correlation of the rows is below .95, beyond
    two standard errors and below what another seed gives. With less than 16 rows nothing is
    measured.
    """
    if len(rows) < _FEWEST_ROWS or (len(model.members) == 1 and not model.stochastic):
        return
    comparison = Comparison.of(model, simulated, rows, options)
    made = _samples(simulated, comparison.rows)
    found = comparison.ratio_of(made, random=simulated.stochastic)
    order = None if found is None else comparison.order_of(made)
    if found is not None and found.exceeds(_FACTOR):
        warnings.warn(comparison.message(found), SpreadWarning, stacklevel=stacklevel)
    elif order is not None and order.is_below(_LEAST_ORDER):
        warnings.warn(comparison.order_message(order), SpreadWarning, stacklevel=stacklevel)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A FLOAT Model that is ready to be quantised, beside the SIMULATED Model of it.

    `expected` are the samples that the float one gives for `rows` [N, *shape].
    """

    ready: Model
    simulated: Model
    rows: NDArray[np.float32]
    options: Options
    expected: tuple[Array, ...]

    @classmethod
    def of(
        cls, model: Model, simulated: Model, rows: NDArray[np.float32], options: Options
    ) -> Comparison:
        """Compare on some of the calibration rows what was made of a FLOAT Model."""
        steps = pipeline(options.quantisation, options.calibration, rows)
        equalise, ready = steps.only("equalise-channels"), ready_model(model, options)
        ready = replace(ready, members=tuple(equalise(member) for member in ready.members))
        some = _evenly(rows, _ROWS)
        return cls(ready, simulated, some, options, _samples(ready, some))

    def on(self, count: int) -> Comparison:
        """The same comparison on so many of the rows, evenly spaced; on all if there are fewer."""
        if count >= len(self.rows):
            return self
        rows = _evenly(self.rows, count)
        return replace(self, rows=rows, expected=_samples(self.ready, rows))

    def ratio(self, model: Model) -> SpreadRatio | None:
        """The ratio of a Model's spread to float's; None where float has none to speak of."""
        if not self._has_spread():
            return None
        return self.ratio_of(_samples(model, self.rows), random=model.stochastic)

    def ratio_of(self, made: tuple[Array, ...], *, random: bool) -> SpreadRatio | None:
        """The same of samples of a Model, which are drawn if it is `random`."""
        if not self._has_spread():
            return None
        return spread_ratio(self.expected, made, self.simulated.head.task, random=random)

    def order_of(self, made: tuple[Array, ...]) -> Order | None:
        """The order of the rows by their spread in such samples, beside float's."""
        random = self.simulated.stochastic
        return order_of(self.expected, made, self.simulated.head.task, random=random)

    def _has_spread(self) -> bool:
        task = self.simulated.head.task
        if task is Task.CLASSIFICATION:
            information = float(row_spreads(self.expected, task).mean())
            return information >= _LEAST_INFORMATION
        return True

    def deviation(self, layers: Sequence[Layer]) -> float:
        """The logarithm of the deviation, 0 or more, where `layers` alone are rounded."""
        outputs = self.options.quantisation.outputs
        found = self.ratio(with_rounded_layers(self.simulated, self.ready, layers, outputs=outputs))
        return inf if found is None else abs(log(found.ratio))

    def message(self, found: SpreadRatio) -> str:
        """The warning: what was measured, which layer costs most, and what to do."""
        told = f"the {self._spread} is {found.ratio:.2f} times float's on the calibration rows"
        layer, deviation = self.costliest()
        if layer is None or deviation < _LEAST_PART * log(found.deviation):
            return f"{told}, and no layer alone causes it: use more `bits`, or finetune"
        option = "input_bits=8" if layer.name == INPUT else f"layers={layer.name}=w8a8"
        name = "the network's input" if layer.name == INPUT else layer.name
        return f"{told}, and {name} costs most: use `{option}`, more `bits`, or finetune"

    def order_message(self, order: Order) -> str:
        """The warning that other rows are the unsure ones."""
        return (
            f"ranked by the {self._spread}, the calibration rows have another order than in float "
            f"(rank correlation {order.correlation:.2f}): use more `bits`, or finetune"
        )

    @property
    def _spread(self) -> str:
        classifies = self.simulated.head.task is Task.CLASSIFICATION
        return "mutual information" if classifies else "epistemic standard deviation"

    def costliest(self) -> tuple[Layer | None, float]:
        """The layer that deviates most where it alone is rounded, and the deviation's logarithm.

        Each layer is tried where that takes some seconds. Otherwise blocks of layers are tried
        first, and then the layers of the worst block.
        """
        chosen = self.options.quantisation
        layers = [
            layer
            for layer in layers_of(self.ready.graph, outputs=chosen.outputs)
            if min(layer.bits(chosen).weights, layer.bits(chosen).activations) < _MOST_BITS
        ]
        tries, size = len(layers), ceil(sqrt(len(layers)))
        one_try = _operations(self.ready.graph) * len(self.expected[0])
        by_blocks = tries * one_try * len(self.rows) > _OPERATIONS
        if by_blocks:
            tries = 2 * size
        affordable = int(_OPERATIONS / max(tries * one_try, 1))
        part = self.on(max(_FEWEST_ROWS, affordable))
        if by_blocks:
            blocks = [layers[start : start + size] for start in range(0, len(layers), size)]
            layers = max(blocks, key=part.deviation)
        found = ((part.deviation([layer]), layer) for layer in layers)
        deviation, layer = max(found, key=itemgetter(0), default=(0.0, None))
        return layer, deviation


def _evenly(rows: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most so many rows, evenly spaced."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def _samples(model: Model, rows: NDArray[np.float32]) -> tuple[Array, ...]:
    members = len(model.members)
    draws = ceil(_SAMPLES / members) if model.stochastic else 1
    return float_samples(model, rows, draws * members, _SEED, 0)


def _operations(graph: Graph) -> int:
    """The multiplications of all layers for one row and sample."""
    return sum(
        node.output.type.size * node.inputs[1].type.size // node.inputs[1].type.shape[0]
        for node in graph.nodes
        if isinstance(node.op, Contraction)
    )
