"""Codes in place of simulated numbers: SIMULATED becomes INTEGER."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from qbnnc.ir.arithmetic import f32, multiplier, quantize
from qbnnc.ir.errors import CompileError, Loc
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import (
    Add,
    AddQuantized,
    Affine,
    AveragePool2d,
    Clamp,
    ClampCodes,
    Conv2d,
    Conv2dInteger,
    Dequantize,
    FakeQuantize,
    KeepMask,
    Linear,
    LinearInteger,
    Mask,
    MaxPool2d,
    Op,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.types import Array, QuantParams, Stage


@dataclass(frozen=True, slots=True)
class Quantize:
    """1. A weight becomes its codes; a bias int32 codes of scale f32(S_x*S_w).
    2. A linear layer or convolution becomes its accumulators; an average pool window sums.
    3. The FakeQuantize after it, and the clamp between, becomes one Requantize, whose low and high
       codes are the clamp's bounds; after an addition one AddQuantized; after the input one
       QuantizeInput, with preprocessing (one scale and offset, or one a channel) folded in.
    4. A dropout mask becomes Select: codes kept, or the zero point.
    5. An output is dequantised, straight from the accumulators if a layer made it.

    Each node, fed the simulated codes, gives the simulated codes within 1.
    """

    name: str = "quantize"

    def __call__(self, graph: Graph, /) -> Graph:
        return _Lowering(graph).run()


class _Lowering:
    """One run of the pass: `codes` maps each simulated value to what stands for it."""

    def __init__(self, graph: Graph) -> None:
        self.old, self.build = graph, Builder()
        self.producers = graph.producers()
        self.codes: dict[Value, Value] = {}

    def run(self) -> Graph:
        entry = self.old.input
        self.codes[entry] = self.build.input(entry.name, entry.type)
        for node in self.old.nodes:
            value = self.lower(node)
            if value is not None:
                self.codes[node.output] = value
        outputs = tuple(self.leave(v) for v in self.old.outputs)
        return self.build.graph(outputs, Stage.INTEGER)

    def lower(self, node: Node) -> Value | None:
        """What stands for a node's output; None where the FakeQuantize after it stands for both."""
        op = node.op
        match op:
            case FakeQuantize():
                return self.fake_quantize(node, op.quant)
            case Linear():
                return self.same(node, LinearInteger())
            case Conv2d():
                geometry = {f.name: getattr(op, f.name) for f in fields(op)}
                return self.same(node, Conv2dInteger(**geometry))
            case AveragePool2d():
                sums = SumPoolInteger(op.kernel, op.stride, op.padding, op.dilation)
                return self.same(node, sums)
            case MaxPool2d() | Reshape() | KeepMask():
                return self.same(node, op)
            case Mask(scale=scale):
                return self.same(node, Select(scale))
            case Clamp() | Add() | Affine():
                return None
        raise CompileError(f"{op.name} has no integer form", node.loc)

    def same(self, node: Node, op: Op) -> Value:
        inputs = (self.codes[v] for v in node.inputs)
        return self.build.emit(op, *inputs, loc=node.loc, name=node.output.name)

    def fake_quantize(self, node: Node, quant: QuantParams) -> Value:
        source = node.inputs[0]
        if source in self.old.constants:
            return self.parameter(node, quant)
        made_by = self.producers.get(source)
        clamp = made_by.op if made_by is not None and isinstance(made_by.op, Clamp) else None
        low, high = _clamp_codes(clamp, quant)
        if made_by is not None and clamp is not None:
            source = made_by.inputs[0]
            made_by = self.producers.get(source)
        if made_by is None:
            return self.entry(QuantizeInput((0.0,), quant.scale, quant, low, high), node)
        match made_by.op:
            case Affine():
                return self.entry(self.preprocessed(made_by, quant, low, high), node)
            case Add():
                op = AddQuantized(quant, low, high)
                inputs = tuple(self.codes[v] for v in made_by.inputs)
                return self.emit(op, inputs, node)
            case Linear() | Conv2d() | AveragePool2d():
                acc = self.codes[source]
                m = self.build.constant(f"{node.output.name}.m", _multiplier(made_by, acc, quant))
                return self.emit(Requantize(quant, low, high), (acc, m), node)
        return self.emit(ClampCodes(low, high), (self.codes[source],), node)

    def emit(self, op: Op, inputs: tuple[Value, ...], node: Node) -> Value:
        return self.build.emit(op, *inputs, loc=node.loc, name=node.output.name)

    def parameter(self, node: Node, quant: QuantParams) -> Value:
        """A weight's i8 or a bias's i32 codes."""
        real = self.old.constants[node.inputs[0]]
        scale, zero = quant.scale_array(real.ndim), quant.zero_point_array(real.ndim)
        codes = quantize(real, scale, zero, quant.low, quant.high)
        codes = codes.astype(np.int8) if quant.bits <= 8 else codes
        return self.build.constant(node.output.name, codes, quant)

    def entry(self, op: QuantizeInput, node: Node) -> Value:
        entry = self.codes[self.old.input]
        return self.build.emit(op, entry, loc=node.loc, name=node.output.name)

    def preprocessed(self, affine: Node, quant: QuantParams, low: int, high: int) -> QuantizeInput:
        """quant(x*a + b, S) as quant(x - (-b/a), S/a): in float64, rounded once each."""
        a, b = (self.old.constants[v].astype(np.float64).reshape(-1) for v in affine.inputs[1:])
        if not (a > 0).all():
            raise CompileError(
                "preprocessing multiplies the input by a number that is not positive: move the "
                "sign into the first layer's weights",
                affine.loc,
            )
        offset, scale = -b / a + 0.0, quant.per_tensor[0] / a
        return QuantizeInput(_floats(offset), _floats(scale), quant, low, high)

    def leave(self, output: Value) -> Value:
        source, node = self.codes[output], self.producers.get(output)
        loc = Loc(output.name) if node is None else node.loc
        return self.build.emit(Dequantize(), source, loc=loc, name=f"{output.name}.real")


def _clamp_codes(clamp: Clamp | None, quant: QuantParams) -> tuple[int, int]:
    """The codes of the clamp's bounds; those of the range where there is none."""
    scale, zero = quant.per_tensor
    bounds = (None, None) if clamp is None else (clamp.low, clamp.high)
    real = np.array([np.nan if b is None else b for b in bounds], np.float32)
    codes = quantize(real, np.float32(scale), zero, quant.low, quant.high)
    low = quant.low if bounds[0] is None else int(codes[0])
    return low, quant.high if bounds[1] is None else int(codes[1])


def _multiplier(layer: Node, acc: Value, quant: QuantParams) -> Array:
    """m, f32, shaped to broadcast against the accumulators (sections 2 and 4)."""
    assert acc.type.quant is not None
    if isinstance(layer.op, AveragePool2d):
        height, width = layer.inputs[0].type.shape[1:]
        counts = layer.op.counts(height, width).astype(np.float32)
        m: Array = np.float32(acc.type.quant.scale[0]) / (np.float32(quant.scale[0]) * counts)
    else:
        m = multiplier(acc.type.quant.scale, quant.scale[0])
    if not (np.isfinite(m) & (m >= np.finfo(np.float32).smallest_normal)).all():
        raise CompileError(
            "the layer's scales are too far apart for a float32 multiplier: rescale its weights",
            layer.loc,
        )
    shape = (1, *m.shape) if isinstance(layer.op, AveragePool2d) else (-1,)
    return m.reshape(*shape, *[1] * (len(acc.type.shape) - len(shape)))


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(f32(v) for v in values)
