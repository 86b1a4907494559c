"""Insert the SQ nodes of Figures 1 and 2: FLOAT becomes SIMULATED."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.arithmetic import accumulator_scale, activation_quant, bias_quant, weight_quant
from qbnnc.ir.errors import CompileError, Loc
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Clamp, Conv2d, FakeQuantize, Linear
from qbnnc.ir.types import QuantParams, Stage
from qbnnc.passes.calibrate import Ranges
from qbnnc.passes.options import Bits, WeightScheme
from qbnnc.passes.sites import quantised_sites

_BIAS_CODES = 2.0**23


@dataclass(frozen=True, slots=True)
class InsertFakeQuantize:
    """1. A FakeQuantize follows every site (`qbnnc.passes.sites`), with the scale and zero point
       of its observed range; it takes the site's place everywhere but where a layer's output
       leaves the graph.
    2. A clamp that is no site keeps the scale of its input, and is quantised again to it.
    3. A FakeQuantize follows every weight; its scale is at least |b_j|/(S_x*2^23), so that the
       bias fits.
    4. One follows every bias, with the accumulators' scale f32(S_x*S_w): at few bits that is
       coarse, and training should see it.
    5. None follows a dropout mask (docs/semantics.md, section 5).
    """

    ranges: Ranges
    bits: Bits
    weights: WeightScheme
    name: str = "insert-fake-quantize"

    def __call__(self, graph: Graph, /) -> Graph:
        sites = {site.name for site in quantised_sites(graph)}

        def rule(node: Node, build: Builder) -> Value | None:
            value = self._emit(node, build)
            if node.output.name in sites:
                return self._quantised(value, node.output.name, node.loc, build)
            if isinstance(node.op, Clamp) and (quant := node.inputs[0].type.quant) is not None:
                return _fake_quantize(value, quant, node.loc, build)
            return value

        def enter(value: Value, build: Builder) -> Value:
            if value.name not in sites:
                return value
            return self._quantised(value, value.name, Loc(value.name), build)

        simulated = rewrite(graph, rule, Stage.SIMULATED, enter)
        return replace(
            simulated, outputs=tuple(_unrounded(simulated, v) for v in simulated.outputs)
        )

    def _emit(self, node: Node, build: Builder) -> Value:
        inputs = node.inputs
        if isinstance(node.op, Linear | Conv2d):
            inputs = (inputs[0], *self._parameters(node, build))
        return build.emit(node.op, *inputs, loc=node.loc, name=node.output.name)

    def _quantised(self, value: Value, site: str, loc: Loc, build: Builder) -> Value:
        quant = activation_quant(*self.ranges[site], self.bits.activations)
        return _fake_quantize(value, quant, loc, build)

    def _parameters(self, node: Node, build: Builder) -> tuple[Value, Value]:
        """Weight and bias of a layer, quantised (rules 3 and 4)."""
        x, value, bias = node.inputs
        weight, shift = build.array(value), build.array(bias)
        if weight is None or shift is None:
            raise CompileError("the weight is computed, not a constant", node.loc)
        if x.type.quant is None:
            raise CompileError("the layer reads a value that has no scale", node.loc)
        input_scale = x.type.quant.per_tensor[0]
        least = np.abs(shift.astype(np.float64)) / (input_scale * _BIAS_CODES)
        quant = weight_quant(
            weight,
            self.bits.weights,
            least,
            symmetric=self.weights.symmetric,
            channels=self.weights.per_channel,
        )
        codes = bias_quant(accumulator_scale(input_scale, quant.scale))
        return (
            _fake_quantize(value, quant, node.loc, build),
            _fake_quantize(bias, codes, node.loc, build),
        )


def _fake_quantize(value: Value, quant: QuantParams, loc: Loc, build: Builder) -> Value:
    return build.emit(FakeQuantize(quant), value, loc=loc, name=f"{value.name}.codes")


def _unrounded(graph: Graph, output: Value) -> Value:
    """What a layer gave before its FakeQuantize, if that is what the output is."""
    node = graph.producers().get(output)
    if node is None or not isinstance(node.op, FakeQuantize):
        return output
    layer = graph.producers().get(node.inputs[0])
    is_layer = layer is not None and isinstance(layer.op, Linear | Conv2d)
    return node.inputs[0] if is_layer else output
