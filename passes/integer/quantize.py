"""Put codes in place of simulated numbers: SIMULATED becomes INTEGER."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NoReturn

import numpy as np

from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ids import id_values
from qbnnc.ir.ops import (
    Affine,
    AveragePool2d,
    Choice,
    Clamp,
    ClampCodes,
    Conv2d,
    Conv2dInteger,
    Embedding,
    EpsCodes,
    FakeQuantize,
    Linear,
    LinearInteger,
    Mask,
    MatMul,
    MatMulInteger,
    Multiply,
    MultiplyInteger,
    Noise,
    NoiseCodes,
    Normal,
    Normalize,
    Op,
    Pairwise,
    PairwiseQuantized,
    Part,
    Pointwise,
    QuantizeInput,
    Rearrangement,
    Requantize,
    SampledWeight,
    ScaledSoftmax,
    Select,
    SumOfProducts,
    SumOfProductsInteger,
    SumPoolInteger,
    ops_of,
)
from qbnnc.ir.ops.noise import thresholds_of
from qbnnc.ir.ops.sum_of_products import is_state
from qbnnc.ir.ops.unary import Lookup
from qbnnc.ir.scales import multiplier
from qbnnc.ir.types import Array, QuantParams, Stage
from qbnnc.passes.integer.constants import (
    clamp_codes,
    layer_multiplier,
    preprocessing,
    quant_of,
    table,
)
from qbnnc.passes.integer.leaving import Leaving
from qbnnc.passes.integer.parameters import Parameters
from qbnnc.passes.integer.row_ops import RowOps
from qbnnc.passes.ranges.drawn_codes import number_of_each_lane
from qbnnc.support.errors import CompileError, Loc


@dataclass(frozen=True, slots=True)
class Quantize:
    """1. A weight becomes its codes, and a bias int32 codes of scale f32(S_x*S_w). A sampled one
       becomes the codes of mu, sigma and eps, and one integer expression of them. A choice becomes
       one between the codes of its members. A mask selects codes of what it drops elements of.
    2. A linear layer, convolution or product of two values becomes its accumulators; an average
       pool becomes sums over its windows.
    3. The FakeQuantize after these, with the clamp between, becomes one Requantize. The bounds of
       the clamp are its low and high codes. After an addition it becomes one AddQuantized, and
       after any other Pairwise the integer op that stands for it. After a function of each
       element, or a value that has codes of another scale, it becomes a table. After a norm it
       becomes one NormalizeInteger, whose constants are weight/S_y and bias/S_y.
       After an input it becomes one QuantizeInput, with preprocessing (one scale and offset, or
       one a channel) folded in. After an embedding its table becomes codes, and ids stay numbers.
    4. A dropout mask becomes Select: codes kept, or the zero point. Noise, with a monotone function
       after it, becomes NoiseCodes.
    5. An output is dequantised, straight from the accumulators if a layer made it. If a function of
       each element did, it leaves by a table of numbers. A constant leaves as it is.

    Each node, fed the simulated codes, gives the simulated codes within 1.
    """

    name: str = "quantize"

    def __call__(self, graph: Graph, /) -> Graph:
        return _Lowering(graph).run()


_QUANTIZED = {
    op.simulated(): op for op in ops_of(Stage.INTEGER) if issubclass(op, PairwiseQuantized)
}


class _Codes(dict[Value, Value]):
    """The value that stands for each simulated one; CompileError for one that stays a number."""

    def __missing__(self, value: Value) -> NoReturn:
        raise CompileError(
            "is computed on numbers that no FakeQuantize takes to codes",
            Loc(value.name),
            remedy="compile the model again from its source",
        )


class _Lowering:
    """One run of the pass: `codes` maps each simulated value to the one that stands for it."""

    def __init__(self, graph: Graph) -> None:
        self.old, self.build = graph, Builder()
        self.producers = graph.producers()
        self.codes, self.ids = _Codes(), id_values(graph)
        self.parameters = Parameters(graph.constants, self.producers, self.codes, self.build)
        self.rows = RowOps(graph.constants, self.codes, self.build)

    def run(self) -> Graph:
        entry = self.old.input
        self.codes[entry] = self.build.input(entry.name, entry.type)
        for value, array in self.old.constants.items():
            if value.type.quant is None:
                self.codes[value] = self.build.keep_constant(value, array)
        for node in self.old.nodes:
            if (lowered := self.lower(node)) is not None:
                self.codes[node.output] = lowered
        leaving = Leaving(self.old.constants, self.producers, self.codes, self.build)
        outputs = tuple(leaving.leave(v) for v in self.old.outputs)
        return self.build.graph(outputs, Stage.INTEGER)

    def lower(self, node: Node) -> Value | None:
        """The integer form of a node; None where the FakeQuantize after it stands for both."""
        op = node.op
        match op:
            case FakeQuantize():
                return self.fake_quantize(node, op.quant)
            case Linear():
                return self.same(node, LinearInteger())
            case Conv2d():
                geometry = {f.name: getattr(op, f.name) for f in fields(op)}
                return self.same(node, Conv2dInteger(**geometry))
            case MatMul(transposed, factor):
                return self.same(node, MatMulInteger(transposed, factor))
            case Multiply():
                return self.same(node, MultiplyInteger())
            case AveragePool2d():
                sums = SumPoolInteger(op.kernel, op.stride, op.padding, op.dilation)
                return self.same(node, sums)
            case Rearrangement() if node.inputs[0] in self.ids:
                return self.same(node, op)
            case Rearrangement() if node.inputs[0].type.quant is None:
                return None  # on the way out: see `leave`
            case Embedding():
                return None
            case Choice():
                return None
            case Mask() if node.inputs[0].type.quant is None:
                return None  # of a weight or bias: see `Parameters`
            case _ if Stage.INTEGER in op.stages:
                return self.same(node, op)
            case Mask(scale=scale):
                return self.same(node, Select(scale))
            case Clamp() | Pairwise() | Affine() | Pointwise():
                return None
            case Normalize() | ScaledSoftmax() | SumOfProducts():
                return None
            case Noise() | Normal() | SampledWeight():
                return None
        raise CompileError(f"{op.name} has no integer form", node.loc)

    def same(self, node: Node, op: Op) -> Value:
        return self.emit(op, tuple(self.codes[v] for v in node.inputs), node)

    def emit(self, op: Op, inputs: tuple[Value, ...], node: Node) -> Value:
        return self.build.emit(op, *inputs, loc=node.loc, name=node.output.name)

    def fake_quantize(self, node: Node, quant: QuantParams) -> Value:
        """The integer form of a rounded value, by the op that made it and the clamp between."""
        source = node.inputs[0]
        if source in self.old.constants:
            return self.parameters.constant(node.inputs[0], node.output.name, quant)
        clamp, source = self.through_clamp(source)
        low, high = clamp_codes(clamp, quant)
        made_by = self.producers.get(source)
        if source in self.codes and source.type.quant is not None:
            return self.again(node, quant, self.codes[source], clamp)
        match None if made_by is None else made_by.op:
            case None | Part():
                op = QuantizeInput((0.0,), quant.scale, quant, low, high)
                return self.emit(op, (self.codes[source],), node)
            case Affine() if made_by is not None:
                offset, scale = preprocessing(made_by, self.old.constants, quant)
                op = QuantizeInput(offset, scale, quant, low, high)
                return self.emit(op, (self.codes[made_by.inputs[0]],), node)
            case Pairwise() as op if made_by is not None:
                inputs = tuple(self.codes[v] for v in made_by.inputs)
                return self.emit(_QUANTIZED[type(op)](quant, low, high), inputs, node)
            case SumOfProducts() if made_by is not None:
                return self.same(made_by, SumOfProductsInteger(quant))
            case Normalize() | ScaledSoftmax() | Embedding() if made_by is not None:
                return self.rows.lowered(made_by, node, quant, (low, high))
            case Noise() | Pointwise() if made_by is not None and (
                drawn := number_of_each_lane(self.old, made_by)
            ):
                return self.noise(node, *drawn, quant, (low, high))
            case Pointwise() as op if made_by is not None:
                x = self.codes[made_by.inputs[0]]
                entries = self.build.constant(
                    f"{node.output.name}.table", table(quant_of(x), quant, op.of, low, high)
                )
                return self.emit(Lookup(quant), (x, entries), node)
            case Normal() as op:
                if source not in self.codes:  # weights may share their noise
                    self.codes[source] = self.emit(EpsCodes(op.shape, op.stream), (), node)
                return self.codes[source]
            case SampledWeight() | Choice() | Mask() if made_by is not None:
                return self.parameters.drawn(made_by, node.output.name, quant)
        assert made_by is not None
        acc = self.codes[source]
        m = self.build.constant(f"{node.output.name}.m", layer_multiplier(made_by, acc, quant))
        return self.emit(Requantize(quant, low, high), (acc, m), node)

    def through_clamp(self, source: Value) -> tuple[Clamp | None, Value]:
        made_by = self.producers.get(source)
        if made_by is not None and isinstance(made_by.op, Clamp):
            return made_by.op, made_by.inputs[0]
        return None, source

    def again(self, node: Node, quant: QuantParams, x: Value, clamp: Clamp | None) -> Value:
        """Codes of a value that has codes already: clamped, under another scale, or of a state."""
        low, high = clamp_codes(clamp, quant)
        if is_state(x.type):
            m = multiplier(quant_of(x).scale, quant.scale[0])
            constant = self.build.constant(f"{node.output.name}.m", m)
            return self.emit(Requantize(quant, low, high), (x, constant), node)
        if quant_of(x) == quant:
            return self.emit(ClampCodes(low, high), (x,), node)
        entries = table(quant_of(x), quant, lambda real: real, low, high)
        constant = self.build.constant(f"{node.output.name}.table", entries)
        return self.emit(Lookup(quant), (x, constant), node)

    def noise(
        self, node: Node, noise: Noise, numbers: Array, quant: QuantParams, ends: tuple[int, int]
    ) -> Value:
        """Codes of a number for each lane, which rises or falls with the lane."""
        scale, zero = quant.per_tensor
        codes = quantize(numbers, np.float32(scale), zero, *ends).astype(np.uint8)
        falls = bool(codes[0] > codes[-1])
        thresholds = thresholds_of(codes[::-1] if falls else codes, quant.high)
        op = NoiseCodes(noise.shape, noise.stream, thresholds, quant, noise.shared, falls)
        return self.emit(op, (), node)
