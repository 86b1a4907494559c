"""Grows one random INTEGER graph, layer by layer, with a calibration that runs along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

import numpy as np

from qbnnc.ir.arithmetic import f32, quantize
from qbnnc.ir.evaluate import evaluate_node
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import (
    OPS,
    ClampCodes,
    Conv2dInteger,
    Dequantize,
    KeepMask,
    LinearInteger,
    MaxPool2d,
    Op,
    PairwiseQuantized,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.rng import Draw
from qbnnc.ir.scales import activation_quant, multiplier, weight_quant
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc

T = TypeVar("T")
PAIRWISE = [op for op in OPS.values() if issubclass(op, PairwiseQuantized)]
_ROWS, _SAMPLES = 5, 2  # of the calibration that runs along

Step: TypeAlias = Callable[[str], Value]


class Choose(Protocol):
    """The source of choices: hypothesis, or a seeded generator."""

    def __call__(self, options: Sequence[T]) -> T: ...


class RandomGraph:
    """Grows one graph; `data` holds what every value is for a calibration batch."""

    def __init__(self, choose: Choose, seed: int, dropout: bool) -> None:
        self.choose, self.rng = choose, np.random.default_rng(seed)
        self.build, self.data, self.streams = Builder(), dict[Value, Array](), 0
        self.dropout = dropout
        self.draw = Draw.of(seed, range(_SAMPLES), range(_ROWS))
        shape = choose(((6,), (1, 5, 6), (3, 6, 5), (4, 7, 7)))
        self.image = len(shape) == 3
        self.value = self.entered(shape)

    def entered(self, shape: tuple[int, ...]) -> Value:
        """Codes of the input, which has this shape."""
        return self.quantize_input(self.input("input", shape))

    def input(self, name: str, shape: tuple[int, ...]) -> Value:
        """The graph's input, with a calibration batch."""
        x = self.build.input(name, TensorType(DType.F32, shape, PER_ROW))
        batch = self.rng.normal(0, 1.3, (_ROWS, *shape)).astype(np.float32)
        self.data[x] = batch[None]
        return x

    def finish(self, classification: bool) -> Graph:
        """Some layers, then one output or two."""
        for number in range(self.choose((1, 2, 3, 4))):
            self.grow(f"layer{number}")
        outputs = [self.output("out", self.choose(("layer", "layer", "codes")))]
        if not classification and self.choose((False, False, True)):
            outputs.append(self.output("second", self.choose(("layer", "codes", "shared"))))
        return self.build.graph(tuple(outputs), Stage.INTEGER)

    def emit(self, op: Op, *inputs: Value, name: str) -> Value:
        """A node, and its value for the calibration batch."""
        loc = Loc(name.split(".")[0], "net.py:1")
        output = self.build.emit(op, *inputs, loc=loc, name=name)
        data = {v: self._data(v) for v in inputs}
        self.data[output] = evaluate_node(Node(op, inputs, output, loc), data, self.draw)
        return output

    def _data(self, value: Value) -> Array:
        array = self.build.array(value)
        return self.data[value] if array is None else array[None, None]

    def grow(self, name: str) -> None:
        """One layer of a kind that fits what there is."""
        kind: str = self.choose(self.kinds())
        self.value = self.steps()[kind](name)

    def kinds(self) -> list[str]:
        """The kinds of layer that may come next, listed as often as they are likely."""
        kinds = ["layer", "layer", "residual", "clamp", "reshape"]
        if self.dropout:
            kinds += ["dropout", "dropout", "skip"]
        if len(self.value.type.shape) == 3:
            kinds += ["max_pool", "average", "global", "layer"]
        return kinds

    def steps(self) -> dict[str, Step]:
        """The function that grows each kind of layer."""
        return {
            "layer": lambda n: self.requantized(self.layer(n, same=False), n),
            "residual": self.residual,
            "skip": lambda n: self.add(self.value, self.masked(n), n),
            "dropout": self.masked,
            "clamp": self.clamp,
            "reshape": self.flatten,
            "max_pool": self.max_pool,
            "average": self.average,
            "global": self.global_average,
        }

    def quantize_input(self, x: Value) -> Value:
        """One scale or one a channel; an offset or none; codes that do or do not fill the range."""
        bits, low = self.bits(), self.choose((-2.0, 0.0))
        quant = activation_quant(low, 2.0, bits)
        count = self.choose((1, *x.type.shape[:1]))
        steps = self.rng.uniform(0.8, 1.2, count)
        scale = tuple(f32(quant.scale[0] * step) for step in steps)
        offset = tuple(f32(o) for o in self.rng.normal(0, 0.2, count))
        if self.choose((True, False)):
            offset = (0.0,) * count
        op = QuantizeInput(offset, scale, quant, *self.bounds(quant))
        return self.emit(op, x, name=f"{x.name}.q")

    def layer(self, name: str, *, same: bool) -> Value:
        """Accumulators of a linear layer or convolution; `same` keeps the shape."""
        x = self.value
        if len(x.type.shape) == 1:
            outputs = x.type.shape[0] if same else self.choose((1, 5, 8))
            return self.contraction(LinearInteger(self.choose((False, True))), name, outputs, 1)
        if len(x.type.shape) != 3:
            self.value = x = self.flatten(f"{name}.flat")
            return self.layer(name, same=same)
        channels = x.type.shape[0]
        groups = self.choose((1, 1, channels))
        if same:
            op = Conv2dInteger((1, 1), (1, 1, 1, 1), (1, 1), groups, self.choose((False, True)))
            return self.contraction(op, name, channels, 3)
        outputs = groups * self.choose((1, 2) if groups > 1 else (1, 3, 6))
        kernel = self.choose((1, 2, 3))
        stride = self.choose(((1, 1), (2, 1), (2, 3)))
        padding = self.choose(((0, 0, 0, 0), (1, 1, 1, 1), (0, 2, 1, 0), (3, 0, 0, 3)))
        dilation = self.choose(((1, 1), (2, 1)))
        if min(x.type.shape[1:]) < (kernel - 1) * 2 + 1:
            padding, dilation = (1, 1, 1, 1), (1, 1)
        op = Conv2dInteger(stride, padding, dilation, groups, self.choose((False, True)))
        return self.contraction(op, name, outputs, kernel)

    def contraction(
        self, op: LinearInteger | Conv2dInteger, name: str, outputs: int, kernel: int
    ) -> Value:
        """Weight and bias codes of either granularity and symmetry, and the op on them."""
        x, rng, shape = self.value, self.rng, self.weight_shape(op, outputs, kernel)
        symmetric, channels = self.choose((True, False)), self.choose((True, True, False))
        real = rng.normal(0 if symmetric else 0.4, 0.5, shape) * rng.uniform(
            0.3, 1.5, (outputs, *[1] * (len(shape) - 1))
        )
        quant = weight_quant(
            real, self.bits(8, 8, 8), np.zeros(outputs), symmetric=symmetric, channels=channels
        )
        scale, zero = quant.scale_array(len(shape)), quant.zero_point_array(len(shape))
        codes = quantize(real.astype(np.float32), scale, zero, quant.low, quant.high)
        zero_x, high = codes_of(x.type).per_tensor[1], codes_of(x.type).high
        centred = (codes - zero).reshape(outputs, -1).sum(axis=1)
        spread = max(1.0, high * float(np.abs(codes - zero).mean()) * 2)
        bias = np.rint(rng.normal(0, spread, outputs)).astype(np.int64)
        bias -= op.folded * zero_x * centred
        weight = self.build.constant(f"{name}.weight", codes.astype(np.int8), quant)
        offset = self.build.constant(f"{name}.bias", bias.astype(np.int32))
        return self.emit(op, x, weight, offset, name=f"{name}.acc")

    def weight_shape(
        self, op: LinearInteger | Conv2dInteger, outputs: int, kernel: int
    ) -> tuple[int, ...]:
        shape = self.value.type.shape
        if isinstance(op, Conv2dInteger):
            return outputs, shape[0] // op.groups, kernel, kernel
        return outputs, *shape

    def requantized(self, acc: Value, name: str) -> Value:
        """Codes of accumulators; now and then the accumulators have a second reader."""
        first = self.requantize(acc, f"{name}.q")
        if self.choose((False, False, False, True)):
            return self.add(first, self.requantize(acc, f"{name}.again"), name)
        return first

    def requantize(self, acc: Value, name: str, counts: Array | None = None) -> Value:
        """One Requantize; `counts` are those of an average, or None."""
        quant = self.observed(self.data[acc] * codes_of(acc.type).scale_array(len(acc.type.shape)))
        m = multiplier(codes_of(acc.type).scale, quant.scale[0])
        if counts is not None:
            scale, n = np.float32(quant.scale[0]), np.maximum(counts, 1).astype(np.float32)
            m = np.asarray(np.float32(codes_of(acc.type).scale[0]) / (scale * n), np.float32)
        elif len(m) > 1 and len(acc.type.shape) == 3:
            m = m.reshape(-1, 1, 1)
        if self.choose((False, False, False, True)):
            m = m * np.float32(1.25)  # as if 1 / (1 - p) were in it: no fused kernel has this
        factor = self.build.constant(f"{name}.m", m)
        return self.emit(Requantize(quant, *self.bounds(quant)), acc, factor, name=name)

    def observed(self, real: Array) -> QuantParams:
        """Codes for most of the numbers, so that some saturate and most do not."""
        low, high = np.quantile(real, (0.03, 0.97))
        if self.choose((True, False)):
            low = 0.0
        return activation_quant(float(low), max(float(high), 1e-3), self.bits())

    def bits(self, *common: int) -> int:
        return self.choose((8, 7, 7, *common, 6, 5, 4, 3, 2))

    def bounds(self, quant: QuantParams) -> tuple[int, int]:
        """All codes, those of a ReLU, or some."""
        zero, high = quant.zero_point[0], quant.high
        kind = self.choose(("all", "relu", "clamp"))
        if kind == "all" or zero == high:
            return 0, high
        return (zero, high) if kind == "relu" else (min(1, zero), high - (high > 3))

    def residual(self, name: str) -> Value:
        if len(self.value.type.shape) == 2:
            self.value = self.flatten(f"{name}.flat")
        branch = self.requantize(self.layer(f"{name}.branch", same=True), f"{name}.branch.q")
        return self.add(self.value, branch, name)

    def add(self, a: Value, b: Value, name: str) -> Value:
        parts = (self.data[v].astype(np.float32) - codes_of(v.type).zero_point[0] for v in (a, b))
        scaled = [p * codes_of(v.type).scale[0] for p, v in zip(parts, (a, b), strict=True)]
        kind = self.choose(PAIRWISE)
        quant = self.observed(kind.simulated().of(*scaled))
        return self.emit(kind(quant, *self.bounds(quant)), a, b, name=f"{name}.sum")

    def masked(self, name: str) -> Value:
        """Dropout of elements or channels, with a row's own mask or the batch's."""
        x = self.value
        shape = x.type.shape
        if len(shape) == 3 and self.choose((False, True)):
            shape = (shape[0], 1, 1)
        p, shared = self.choose((0.25, 0.1, 0.5, 0.0, 0.999995)), self.choose((False, False, True))
        mask = self.emit(KeepMask(shape, p, self.streams, shared), name=f"{name}.mask")
        self.streams += self.choose((1, 1, 3))
        scale = 1.0 if self.choose((True, False)) else 1 / (1 - min(p, 0.5))
        return self.emit(Select(scale), x, mask, name=f"{name}.select")

    def clamp(self, name: str) -> Value:
        quant = codes_of(self.value.type)
        return self.emit(ClampCodes(*self.bounds(quant)), self.value, name=f"{name}.clamp")

    def flatten(self, name: str) -> Value:
        return self.emit(Reshape((self.value.type.size,)), self.value, name=f"{name}.flat")

    def max_pool(self, name: str) -> Value:
        kernel, padding = self.window()
        stride = self.choose(((1, 1), (2, 1), (2, 2)))
        op = MaxPool2d(kernel, stride, padding, self.choose(((1, 1), (1, 2))))
        try:
            op.output_shape((self.value.type,))
        except ValueError:
            op = MaxPool2d((1, 1), stride)
        return self.emit(op, self.value, name=f"{name}.max")

    def average(self, name: str) -> Value:
        """Windows whose padding counts, or windows of their own sizes."""
        kernel, padding = self.window()
        op = SumPoolInteger(kernel, self.choose(((1, 1), (2, 1), (2, 2))), padding)
        acc = self.emit(op, self.value, name=f"{name}.acc")
        counts = np.array(kernel[0] * kernel[1])
        if self.choose((False, True)):
            counts = op.positions_inside(*self.value.type.shape[1:])
        return self.requantize(acc, f"{name}.q", counts)

    def global_average(self, name: str) -> Value:
        extent = (self.value.type.shape[1], self.value.type.shape[2])
        acc = self.emit(SumPoolInteger(extent, (1, 1)), self.value, name=f"{name}.acc")
        return self.requantize(acc, f"{name}.q", np.array(extent[0] * extent[1]))

    def window(self) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """A kernel and padding that fit; the padding may be larger than the kernel."""
        kernel = self.choose(((2, 2), (1, 2), (3, 3)))
        padding = self.choose(((0, 0, 0, 0), (1, 0, 0, 1), (1, 1, 1, 1), (0, 0, 3, 2)))
        height, width = self.value.type.shape[1:]
        return (kernel, padding) if min(height, width) >= 3 else ((1, 1), (0, 0, 1, 1))

    def output(self, name: str, kind: str) -> Value:
        """A value that leaves the graph: of a layer (maybe with a second reader), or of codes."""
        if kind == "codes":
            return self.emit(Dequantize(), self.value, name=name)
        acc = self.layer(name, same=False)
        if kind == "shared":
            self.value = self.requantize(acc, f"{name}.q")
            codes = self.emit(Dequantize(), self.value, name=f"{name}.codes")
            return codes if self.choose((False, True)) else self.emit(Dequantize(), acc, name=name)
        return self.emit(Dequantize(), acc, name=name)
