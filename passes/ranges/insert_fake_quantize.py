"""Insert the SQ nodes of Figures 1 to 3: FLOAT becomes SIMULATED."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import (
    Clamp,
    Concat,
    Contraction,
    Conv2d,
    FakeQuantize,
    Mask,
    MatMul,
    Move,
    SampledWeight,
)
from qbnnc.ir.scales import (
    accumulator_scale,
    activation_quant,
    bias_quant,
    sampling_quants,
    state_quant,
    weight_quant,
)
from qbnnc.ir.types import EPS_QUANT, Array, QuantParams, Stage
from qbnnc.passes.options import DRAWN_BITS, Bits, Quantisation, Scales
from qbnnc.passes.parameters import likely_values, source_constant, spread
from qbnnc.passes.ranges.calibrate import Calibration, Observer, Ranges
from qbnnc.passes.ranges.quantisation_points import (
    QuantisationPoint,
    only_moves,
    quantisation_points,
)
from qbnnc.passes.ranges.range_search import Codes, least_error_range
from qbnnc.support.errors import CompileError, Loc

_BIAS_CODES = 2.0**23
_DEVIATIONS = 3.0  # a sampled weight's range is mu -+ 3 sigma
_DISTRIBUTION_BITS = 8  # of mu and sigma: their codes take a byte at any width

RangesOf: TypeAlias = Callable[[Graph], Ranges]
"""Observes the range of every quantisation point of a FLOAT graph."""


@dataclass(frozen=True, slots=True)
class InsertFakeQuantize:
    """1. A FakeQuantize follows every quantisation point, with the scale and zero point of the
       observed range, or of all ranges where points share a scale. It takes the place of the point
       everywhere but where a layer's output, its elements moved or not, leaves the graph as a
       number.
    2. A clamp that is no point keeps the scale of its input, and is quantised again to it. An input
       of a concatenation that has another scale is quantised again to a common one, which reaches
       as far as each.
    3. A FakeQuantize follows every weight. The scale is at least |b_j|/(S_x*2^23), so that the bias
       fits. One follows every bias, with the accumulators' scale f32(S_x*S_w). A depthwise 1x1
       convolution has a scale a channel, whatever was chosen, and with powers of two 8 bits: its
       one weight a channel is exact then. It has 8 bits too if this weight is drawn.
    4. The mu, sigma and eps of a sampled weight are quantised to 8 bits (docs/semantics.md, section
       6). The sample, whose range is mu -+ 3 |sigma|, has the bits of the layer.
    5. A state that a recurrence carries has 16 bits, for twice its range. A view of it, the clamp
       that others read it through, is quantised again as a point of its own.
    6. None follows a dropout mask (section 5), unless scales are powers of two and the mask's
       factor is none.
    """

    ranges_of: RangesOf
    options: Quantisation
    how: Calibration = field(default_factory=Calibration)
    name: str = "insert-fake-quantize"

    def __call__(self, graph: Graph, /) -> Graph:
        bits = layer_bits(graph, self.options)  # observing takes long: a misspelt layer is told now
        points = quantisation_points(graph, outputs=self.options.outputs)
        quants = self._quants(points, self.ranges_of(graph))
        work = _Insertion(self.options, quants, bits, self.how)
        simulated = rewrite(graph, work.rule, Stage.SIMULATED, work.enter)
        if self.options.outputs:
            return simulated
        return rewrite(_with_exact_outputs(simulated), lambda node, build: None)

    def _quants(
        self, points: tuple[QuantisationPoint, ...], ranges: Ranges
    ) -> dict[str, QuantParams]:
        """The codes of each point: a group has its widest range and the bits of its first."""
        pow2, quants = self.options.scales is Scales.POW2, {}
        for point in points:
            members = [ranges[p.value.name] for p in points if p.group is point.group]
            first = next(p for p in points if p.group is point.group)
            low, high = min(a for a, _ in members), max(b for _, b in members)
            quants[point.value.name] = (
                state_quant(low, high, pow2=pow2)
                if point.is_state
                else activation_quant(low, high, first.bits(self.options), pow2=pow2)
            )
        return quants


@dataclass(frozen=True, slots=True)
class _Insertion:
    """One run of the pass."""

    options: Quantisation
    points: Mapping[str, QuantParams]
    bits: Mapping[str, Bits]
    how: Calibration

    @property
    def pow2(self) -> bool:
        return self.options.scales is Scales.POW2

    def enter(self, value: Value, build: Builder) -> Value:
        quant = self.points.get(value.name)
        return value if quant is None else _fake_quantize(value, quant, Loc(value.name), build)

    def rule(self, node: Node, build: Builder) -> Value | None:
        value = build.emit(node.op, *self.inputs(node, build), loc=node.loc, name=node.output.name)
        quant = self.points.get(node.output.name)
        if quant is None:
            quant = self.again(node)
        return value if quant is None else _fake_quantize(value, quant, node.loc, build)

    def again(self, node: Node) -> QuantParams | None:
        """The codes of a value that has codes already (rules 2 and 6); None if it keeps them."""
        if not node.inputs or (quant := node.inputs[0].type.quant) is None:
            return None
        if isinstance(node.op, Clamp):
            return quant
        if isinstance(node.op, Mask) and node.op.scale != 1.0 and self.pow2:
            (scale, zero), factor = quant.per_tensor, node.op.scale
            low, high = ((code - zero) * scale * factor for code in (quant.low, quant.high))
            return activation_quant(low, high, quant.bits, pow2=True)
        return None

    def inputs(self, node: Node, build: Builder) -> tuple[Value, ...]:
        match node.op:
            case Contraction():
                return (node.inputs[0], *self.parameters(node, build))
            case SampledWeight():
                return self.sampled(node, build)
            case Concat():
                return self.joined(node, build)
        return node.inputs

    def parameters(self, node: Node, build: Builder) -> tuple[Value, Value]:
        """Weight and bias of a layer, quantised (rules 3 and 4)."""
        x, weight, bias = node.inputs
        weights, shifts = (spread(v, build, _DEVIATIONS) for v in (weight, bias))
        if weights is None or shifts is None:
            raise CompileError("the weight is computed from the input or unknown noise", node.loc)
        if x.type.quant is None:
            raise CompileError("the layer reads a value that has no scale", node.loc)
        input_scale = x.type.quant.per_tensor[0]
        largest = np.abs(shifts.astype(np.float64)).max(axis=0)
        bits = self.bits.get(node.output.name, self.options.bits).weights
        one_tap, drawn = _has_one_tap(node), bool(weight.type.axes)
        if one_tap and (self.pow2 or drawn):
            bits = DRAWN_BITS
        scheme = self.options.scheme_of(bits, sampled=bool(weight.type.axes))
        channels = (one_tap and not drawn) or scheme.per_channel
        codes = Codes(bits, scheme.symmetric, self.pow2)
        quant = weight_quant(
            self.weight_range(weight, weights, codes, build, channels=channels),
            bits,
            largest / (input_scale * _BIAS_CODES),
            symmetric=scheme.symmetric,
            channels=channels,
            pow2=self.pow2,
        )
        of_bias = bias_quant(accumulator_scale(input_scale, quant.scale))
        return (
            _fake_quantize(weight, quant, node.loc, build),
            _fake_quantize(bias, of_bias, node.loc, build),
        )

    def weight_range(
        self, weight: Value, ends: Array, codes: Codes, build: Builder, *, channels: bool
    ) -> Array:
        """Numbers that each channel's scale (or the tensor's) has to cover: [N, M], any M."""
        each = [end.reshape(len(end), -1) for end in ends]
        rows = each[0] if len(each) == 1 else np.concatenate(each, axis=1)
        if self.how.weight_observer(codes.bits) is not Observer.MSE:
            return rows
        likely = likely_values(weight, build)
        assert likely is not None
        arrays, probabilities = likely
        apart = arrays.reshape(len(arrays), len(rows), -1).transpose(1, 2, 0)
        values = apart.reshape(len(rows) if channels else 1, -1)
        counts = np.tile(probabilities, values.shape[1] // len(probabilities))[None]
        found = np.stack(least_error_range(values, counts, codes), axis=1)
        return np.repeat(found, len(rows) // len(found), axis=0)

    def sampled(self, node: Node, build: Builder) -> tuple[Value, ...]:
        """mu, sigma and eps of a sampled weight or bias, quantised (rule 4)."""
        mu, sigma, eps, *index = node.inputs
        mu_quant, sigma_quant = sampling_quants(
            source_constant(mu, build),
            source_constant(sigma, build),
            _DISTRIBUTION_BITS,
            channels=self.options.scheme_of(_DISTRIBUTION_BITS, sampled=True).per_channel,
        )
        return (
            _fake_quantize(mu, mu_quant, node.loc, build),
            _fake_quantize(sigma, sigma_quant, node.loc, build),
            _fake_quantize(eps, EPS_QUANT, node.loc, build),
            *index,
        )

    def joined(self, node: Node, build: Builder) -> tuple[Value, ...]:
        """The inputs of a concatenation under one scale (rule 2)."""
        quants = [value.type.quant for value in node.inputs]
        known = [quant for quant in quants if quant is not None]
        if not known:
            raise CompileError("joins values that have no scale", node.loc)
        common = _covering(known, pow2=self.pow2)
        return tuple(
            value if quant == common else _fake_quantize(value, common, node.loc, build)
            for value, quant in zip(node.inputs, quants, strict=True)
        )


def _has_one_tap(layer: Node) -> bool:
    """Whether each channel is multiplied by one number, as in a lowered scale and shift."""
    _, weight, _ = layer.inputs
    return isinstance(layer.op, Conv2d) and weight.type.size == layer.op.groups


def _covering(quants: list[QuantParams], *, pow2: bool) -> QuantParams:
    """The first codes if they reach as far as all others, to half a step; else wider ones."""
    (scale, _), first = quants[0].per_tensor, quants[0]
    ends = [[(code - z) * s for code in (q.low, q.high)] for q in quants for s, z in [q.per_tensor]]
    low, high = min(a for a, _ in ends), max(b for _, b in ends)
    if ends[0][0] <= low + scale / 2 and ends[0][1] >= high - scale / 2:
        return first
    return activation_quant(low, high, first.bits, pow2=pow2)


def _fake_quantize(value: Value, quant: QuantParams, loc: Loc, build: Builder) -> Value:
    return build.emit(FakeQuantize(quant), value, loc=loc, name=f"{value.name}.codes")


def layer_bits(graph: Graph, options: Quantisation) -> dict[str, Bits]:
    """The bits of each value's layer, by name; CompileError for a layer that does not exist."""
    known = {node.loc.module for node in graph.nodes} | {n.output.name for n in graph.nodes}
    for layer in options.layers:
        if layer not in known:
            names = sorted({n.loc.module for n in graph.nodes if isinstance(n.op, Contraction)})
            raise CompileError(
                "there is no such layer", layer, remedy=f"there are {', '.join(names)}"
            )
    return {node.output.name: options.bits_of(node) for node in graph.nodes}


def _with_exact_outputs(graph: Graph) -> Graph:
    """The graph whose outputs come from their layer directly, not from its FakeQuantize."""
    nodes, outputs = list(graph.nodes), list[Value]()
    for output in graph.outputs:
        source, moves = _unmoved(graph, output)
        value = _unrounded(graph, source)
        if value is source:
            value, moves = output, []
        for each in moves:
            moved = Value(each.output.name, each.op.infer(value.type))
            nodes.append(Node(each.op, (value,), moved, each.loc))
            value = moved
        outputs.append(value)
    return replace(graph, nodes=tuple(nodes), outputs=tuple(outputs))


def _unmoved(graph: Graph, output: Value) -> tuple[Value, list[Node]]:
    """The value of an output before its elements move, and the moves; reshapes alone are none."""
    producers, source, moves = graph.producers(), output, list[Node]()
    while (node := producers.get(source)) is not None and only_moves(node.op):
        moves.insert(0, node)
        source = node.inputs[0]
    return (source, moves) if any(isinstance(m.op, Move) for m in moves) else (output, [])


def _unrounded(graph: Graph, output: Value) -> Value:
    """The layer's result before its FakeQuantize, if the output is made by one; else the output."""
    node = graph.producers().get(output)
    if node is None or not isinstance(node.op, FakeQuantize):
        return output
    layer = graph.producers().get(node.inputs[0])
    is_layer = layer is not None and isinstance(layer.op, Contraction | MatMul)
    return node.inputs[0] if is_layer else output
