"""Builds INTEGER graphs layer by layer, with random codes: weights may be drawn in any way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Choice,
    ChoiceIndex,
    Conv2dInteger,
    Dequantize,
    KeepMask,
    LinearInteger,
    MultiplyInteger,
    NoiseCodes,
    Op,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import accumulator_scale, bias_quant, multiplier
from qbnnc.ir.types import PER_ROW, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc

CODES = QuantParams((0.03125,), (40,), 0, 127)
_LARGEST = 100  # of the weights' codes


@dataclass
class IntegerNet:
    """Builds a graph layer by layer; `value` is what the last layer gave."""

    shape: tuple[int, ...]
    seed: int = 0
    build: Builder = field(default_factory=Builder)
    streams: int = 0
    names: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        x = self.build.input("input", TensorType(DType.F32, self.shape, PER_ROW))
        op = QuantizeInput((0.0,), CODES.scale, CODES, CODES.low, CODES.high)
        self.value = self.emit(op, x, name="input.q")

    def emit(self, op: Op, *inputs: Value, name: str = "") -> Value:
        self.names += 1
        name = name or f"v{self.names}"
        return self.build.emit(op, *inputs, loc=Loc(name, "net.py:1"), name=name)

    def stream(self) -> int:
        self.streams += 1
        return self.streams - 1

    def noise(
        self, thresholds: Sequence[int], shape: tuple[int, ...], *, shared: bool, inverted: bool
    ) -> Value:
        quant = QuantParams((0.0625,), (len(thresholds) // 3,), 0, len(thresholds))
        op = NoiseCodes(shape, self.stream(), tuple(thresholds), quant, shared, inverted)
        return self.emit(op)

    def codes(self, shape: tuple[int, ...]) -> Value:
        """A constant of activation codes."""
        array = self.rng.integers(0, 128, shape).astype(np.uint8)
        return self.build.constant(f"codes{self.names}", array, CODES)

    def index(self, count: int, *, shared: bool = True) -> Value:
        return self.emit(ChoiceIndex(count, self.stream(), shared))

    def weight(self, shape: tuple[int, ...], count: int = 0, *, affine: bool = False) -> Value:
        """A constant weight [*shape], or `count` of them: [count, *shape]."""
        whole, outputs = (count, *shape) if count else shape, shape[0]
        zeros = tuple(int(z) for z in self.rng.integers(-20, 20, outputs) * affine)
        scales = tuple(float(s) for s in self.rng.uniform(0.01, 0.02, outputs).astype(np.float32))
        quant = QuantParams(scales, zeros, -128, 127, 1 if count else 0)
        codes = self.rng.integers(-_LARGEST, _LARGEST + 1, whole).astype(np.int8)
        return self.build.constant(f"weight{self.names}", codes, quant)

    def bias(self, weight: Value, count: int = 0) -> Value:
        """A constant bias of a layer with this weight, or `count` of them."""
        scales = accumulator_scale(
            codes_of(self.value.type).per_tensor[0], codes_of(weight.type).scale
        )
        outputs, quant = len(scales), bias_quant(scales)
        if count:
            quant = QuantParams(quant.scale, quant.zero_point, quant.low, quant.high, 1)
        codes = self.rng.integers(-9000, 9000, (count, outputs) if count else outputs)
        return self.build.constant(f"bias{self.names}", codes.astype(np.int32), quant)

    def choice(self, values: Value, index: Value | None = None) -> Value:
        number = self.index(values.type.shape[0]) if index is None else index
        return self.emit(Choice(), values, number)

    def keep(self, shape: tuple[int, ...], *, shared: bool = True, inverted: bool = False) -> Value:
        return self.emit(KeepMask(shape, 0.4, self.stream(), shared, inverted))

    def dropped(self, parameter: Value, mask: Value | None = None) -> Value:
        keep = self.keep(parameter.type.shape) if mask is None else mask
        return self.emit(Select(), parameter, keep)

    def layer(
        self, weight: Value, bias: Value, op: LinearInteger | Conv2dInteger | None = None
    ) -> IntegerNet:
        """A layer, and its codes behind a ReLU."""
        plain = LinearInteger() if len(weight.type.shape) == 2 else Conv2dInteger()
        acc = self.emit(plain if op is None else op, self.value, weight, bias)
        return self.rounded(acc, 0.25, zero=0)

    def rounded(self, acc: Value, scale: float, *, zero: int = 40) -> IntegerNet:
        quant = QuantParams((scale,), (zero,), 0, 127)
        m = multiplier(codes_of(acc.type).scale, scale)
        if len(m) > 1 and len(acc.type.shape) == 3:
            m = m.reshape(-1, 1, 1)
        factor = self.build.constant(f"m{self.names}", m)
        self.value = self.emit(Requantize(quant, zero, 127), acc, factor)
        return self

    def times(self, other: Value) -> IntegerNet:
        return self.rounded(self.emit(MultiplyInteger(), self.value, other), 0.0625)

    def flatten(self) -> IntegerNet:
        self.value = self.emit(Reshape((self.value.type.size,)), self.value)
        return self

    def model(self) -> Model:
        out = self.emit(Dequantize(), self.value, name="out")
        graph = self.build.graph((out,), Stage.INTEGER)
        made = Model((graph,), Head(Task.RAW), 3 if self.streams else 1)
        made.check()
        return made
