"""Fit weights and biases, layer after layer, to the outputs of the float layer."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Contraction, Conv2d, FakeQuantize, SampledWeight
from qbnnc.ir.scales import accumulator_scale, bias_quant, sampling_quants
from qbnnc.ir.types import Array, QuantParams, Stage
from qbnnc.passes.fitting.loops import LoopObservations
from qbnnc.passes.fitting.observations import input_products, layer_moments
from qbnnc.passes.fitting.paired_evaluation import (
    RebuiltValues,
    ReferenceValues,
    batches_of,
    live_bytes,
)
from qbnnc.passes.fitting.rounding import FEW_BITS, NotFitted, fitted_weight
from qbnnc.passes.fitting.sampled_weights import fitted_parameters
from qbnnc.passes.options import Bits, Quantisation, Rounding, Scales
from qbnnc.passes.parameters import float32_constant, source_constant
from qbnnc.passes.ranges.calibrate import Calibration
from qbnnc.support.errors import CompileError, RoundingWarning, UserError

Float64 = NDArray[np.float64]

_PASSES = 4
_MOST_INPUTS = 4608  # per output: H is square in it
_BIAS_CODES = 2.0**23
_STRETCHES = 1.0, 1.1, 1.21, 1.33  # of a range at few bits: fitted weights reach further


@dataclass(frozen=True, slots=True, eq=False)
class FitLayers:
    """The SIMULATED graph is evaluated beside the FLOAT graph that it was made of: the same without
    FakeQuantize nodes. Both see the same calibration rows, masks and eps, of at most 4 samples and
    1 GiB of values. Layers are fitted in execution order, and each reads the values that the
    fitted ones before it give.

    1. A constant weight becomes codes fitted to the output of the float layer
       (`passes.fitting.rounding`). Codes of 3 bits or less may have a scale up to a third larger,
       channel by channel, and the scale of the bias follows. Declined for convolutions in groups
       and for more than 4,608 inputs of an output. Declined with a RoundingWarning where the
       observations do not say how.
    2. A bias moves by the mean difference of the layer's output, channel by channel (Nagel et al.
       2019; Finkelstein et al. 2019), within the 2^23 codes of section 1. The mu of a sampled bias
       moves, and is quantised anew. A bias that is chosen or under a mask stays.
    3. A sampled weight gets another mu and sigma, whose rounded samples have the right mean and
       variance (`passes.fitting.sampled_weights`). For convolutions in groups and for more than
       4,608 inputs of an output, this is done weight by weight. A choice between constants, and a
       weight under a mask, are rounded to nearest.
    4. Layers whose bits ask for none of this stay as they are.
    5. The layers of a loop, which have one weight, are fitted to all of their steps in the float
       network. Their biases stay, since one must serve all steps.

    The scales of activations stay, and so do those of weights of more than 3 bits and of sampled
    ones. The scales of mu and sigma are new.
    """

    rows: NDArray[np.float32] | None
    how: Calibration
    options: Quantisation
    name: str = "fit-layers"

    def __call__(self, graph: Graph, /) -> Graph:
        layers = _layers(graph)
        if not any(_wanted(node, self.options) for node in layers):
            return graph
        if self.rows is None:
            raise UserError("fits layers to calibration rows, and there are none", self.name)
        unrounded = rewrite(graph, _without_rounding, Stage.FLOAT)
        pairs = {a.output: b.output for a, b in zip(layers, _layers(unrounded), strict=True)}
        passes = min(_PASSES, self.how.passes_of(graph))
        row_bytes = live_bytes(graph) + live_bytes(unrounded)
        batches = batches_of(self.rows, self.how.seed, passes, row_bytes)
        reference, now = ReferenceValues(unrounded, batches), RebuiltValues(graph, batches)
        work = _Fitting(reference, now, pairs, self.options, LoopObservations(unrounded, batches))
        with np.errstate(over="ignore", invalid="ignore"):
            return rewrite(graph, work.rule, None, lambda v, _: now.enter(v, graph.input))


@dataclass(frozen=True, slots=True, eq=False)
class _Fitting:
    """One run of the pass: `reference` gives the wanted values, `now` those of the new graph.

    `pairs` maps each layer's output to the output of the float layer.
    """

    reference: ReferenceValues
    now: RebuiltValues
    pairs: Mapping[Value, Value]
    options: Quantisation
    loops: LoopObservations

    def rule(self, node: Node, build: Builder) -> Value:
        if isinstance(node.op, Contraction) and _wanted(node, self.options):
            value = self.layer(node, build)
        else:
            value = self.now.emit(node, node.op, node.inputs, build)
        self.now.replaced(node.output, value)
        return value

    def layer(self, node: Node, build: Builder) -> Value:
        """The fitted layer: the weight first (rule 1), then the bias that goes with it (rule 2)."""
        x, weight, bias = node.inputs
        if _is_sampled(node):
            if self.options.rounding_of(_bits(node)) is Rounding.FITTED:
                weight = self.sampled_weight(node, build)
                scaled = _producer(bias, build)  # it follows the weight, on which its scale depends
                bias = self.now.emit(scaled, scaled.op, scaled.inputs, build)
            if not _corrects_bias(node, self.options) or self.loop(node) is not None:
                return self.now.emit(node, node.op, (x, weight, bias), build)
        wanted = self.reference.values(self.pairs[node.output])
        if not _is_sampled(node) and self.options.rounding_of(_bits(node)) is Rounding.FITTED:
            weight = self.weight(node, wanted, build)
            bias = self.rescaled(bias, x, weight, build)
        given = self.now.emit(node, node.op, (x, weight, bias), build)
        if not _corrects_bias(node, self.options) or self.loop(node) is not None:
            return given
        shift = _mean_difference(wanted, self.now.taken(given))
        bias = self.bias(bias, shift, build)
        return self.now.emit(node, node.op, (x, weight, bias), build)

    def weight(self, node: Node, wanted: list[Array], build: Builder) -> Value:
        """The weight with codes fitted by rule 1; the weight as it is where that is declined."""
        x, weight, _ = node.inputs
        rounded = _producer(weight, build)
        real = build.array(rounded.inputs[0])
        grouped = isinstance(node.op, Conv2d) and node.op.groups != 1
        if real is None or grouped or real[0].size > _MOST_INPUTS:
            return weight
        loop = self.loop(node)
        if loop is not None:
            moments = self.loops.moments(loop)
        else:
            moments = layer_moments(node.op, weight.type.shape, self.now.values(x), wanted)
        try:
            fitted, quant = fitted_weight(real, self.scales(_quant(weight)), moments)
        except NotFitted as error:
            _warn_of_nearest(node, error)
            return weight
        constant = build.constant(rounded.inputs[0].name, fitted)
        return self.now.emit(rounded, FakeQuantize(quant), (constant,), build)

    def scales(self, quant: QuantParams) -> list[QuantParams]:
        """The codes that a fitted weight may have: wider ones at few bits (rule 1)."""
        few = quant.bits <= FEW_BITS and self.options.scales is Scales.FREE
        return [quant.scaled(factor) for factor in (_STRETCHES if few else (1.0,))]

    def rescaled(self, bias: Value, x: Value, weight: Value, build: Builder) -> Value:
        """The bias with the scale of the accumulators, which follows that of the weight."""
        rounded = _producer(bias, build)
        scale = accumulator_scale(_quant(x).per_tensor[0], _quant(weight).scale)
        if _quant(bias).scale == scale:
            return bias
        return self.now.emit(rounded, FakeQuantize(bias_quant(scale)), rounded.inputs, build)

    def sampled_weight(self, node: Node, build: Builder) -> Value:
        """The sampled weight with a fitted mu and sigma, by rule 3."""
        weight = node.inputs[1]
        rounded = _producer(weight, build)
        sampled = _producer(rounded.inputs[0], build)
        if not isinstance(sampled.op, SampledWeight):
            return weight
        mu, sigma, *noise = sampled.inputs
        mean, deviation = source_constant(mu, build), source_constant(sigma, build)
        grouped = isinstance(node.op, Conv2d) and node.op.groups != 1
        whole = not grouped and mean[0].size <= _MOST_INPUTS
        products = self.products(node, mean.shape) if whole else None
        try:
            fitted = fitted_parameters(mean, deviation, _quant(weight), products)
        except NotFitted as error:
            _warn_of_nearest(node, error)
            return weight
        made = (
            self.again(mu, fitted.mu, fitted.mu_quant, build),
            self.again(sigma, fitted.sigma, fitted.sigma_quant, build),
        )
        sample = self.now.emit(sampled, SampledWeight(), (*made, *noise), build)
        return self.now.emit(rounded, rounded.op, (sample,), build)

    def products(self, node: Node, shape: tuple[int, ...]) -> Float64:
        """The mean of x x^T over what a layer, or all layers of its loop, read."""
        if (loop := self.loop(node)) is not None:
            return self.loops.products(loop)
        return input_products(node.op, shape, self.now.values(node.inputs[0]))

    def loop(self, node: Node) -> Hashable | None:
        """What the layers of the node's loop have in common; None if it is in none."""
        return self.loops.loop(self.pairs[node.output])

    def bias(self, bias: Value, shift: Float64, build: Builder) -> Value:
        """The bias moved by `shift`, by rule 2."""
        rounded = _producer(bias, build)
        source = rounded.inputs[0]
        most = np.array(_quant(bias).scale) * _BIAS_CODES
        if build.array(source) is not None:
            moved = np.clip(self.rounded(bias) + shift, -most, most)
            constant = float32_constant(source.name, moved, build)
            return self.now.emit(rounded, rounded.op, (constant,), build)
        made = _producer(source, build)
        if not isinstance(made.op, SampledWeight):
            return bias
        sampled = self.sampled_bias(made, shift, most, build)
        return self.now.emit(rounded, rounded.op, (sampled,), build)

    def sampled_bias(self, node: Node, shift: Float64, most: Float64, build: Builder) -> Value:
        mu, sigma, *noise = node.inputs
        moved = np.clip(self.rounded(mu) + shift, -most, most).astype(np.float32)
        deviation = source_constant(sigma, build)
        quants = sampling_quants(moved, deviation, 8, channels=_quant(mu).axis is not None)
        made = [
            self.again(value, array, quant, build)
            for value, array, quant in zip((mu, sigma), (moved, deviation), quants, strict=True)
        ]
        return self.now.emit(node, SampledWeight(), (*made, *noise), build)

    def rounded(self, value: Value) -> Array:
        """A constant as its codes have it: the shift was measured with these numbers."""
        real: Array = self.now.values(value)[0][0, 0]
        return real

    def again(self, value: Value, array: Array, quant: QuantParams, build: Builder) -> Value:
        rounded = _producer(value, build)
        constant = float32_constant(rounded.inputs[0].name, array, build)
        return self.now.emit(rounded, FakeQuantize(quant), (constant,), build)


def _without_rounding(node: Node, build: Builder) -> Value | None:
    return node.inputs[0] if isinstance(node.op, FakeQuantize) else None


def _layers(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.op, Contraction)]


def _wanted(node: Node, options: Quantisation) -> bool:
    fitted = options.rounding_of(_bits(node)) is Rounding.FITTED
    return fitted or _corrects_bias(node, options)


def _corrects_bias(layer: Node, options: Quantisation) -> bool:
    return options.corrects_bias(_bits(layer), sampled=_is_sampled(layer))


def _is_sampled(layer: Node) -> bool:
    """Whether the weight is sampled: it then varies with the sample."""
    return bool(layer.inputs[1].type.axes)


def _bits(layer: Node) -> Bits:
    """The bits of a layer's weight and of its input."""
    x, weight, _ = layer.inputs
    return Bits(_quant(weight).bits, _quant(x).bits)


def _warn_of_nearest(node: Node, error: NotFitted) -> None:
    warnings.warn(
        f"{node.loc}: its weight is rounded to nearest, not fitted ({error}): look at its "
        "calibration data, or ask for `rounding='nearest'`",
        RoundingWarning,
        stacklevel=3,
    )


def _quant(value: Value) -> QuantParams:
    if value.type.quant is None:
        raise CompileError("has no codes", value.name)
    return value.type.quant


def _producer(value: Value, build: Builder) -> Node:
    node = build.producer(value)
    if node is None:
        raise CompileError("must be computed", value.name)
    return node


def _mean_difference(wanted: list[Array], given: list[Array]) -> Float64:
    """The mean of wanted - given [L, B, N, ...] over all but the channels: [N]; 0 if infinite."""
    total, count = np.zeros(1), 0
    for a, b in zip(wanted, given, strict=True):
        difference = np.moveaxis(a.astype(np.float64) - b, 2, -1)
        rows = difference.reshape(-1, difference.shape[-1])
        total, count = total + rows.sum(axis=0), count + len(rows)
    mean = total / max(count, 1)
    return np.where(np.isfinite(mean), mean, 0.0)
