"""Small INTEGER models that are built by hand, one op at a time, for tests of the runtime."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import f32
from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    AddQuantized,
    Conv2dInteger,
    Dequantize,
    KeepMask,
    LinearInteger,
    MaxPool2d,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
)
from qbnnc.ir.ops.base import Op, codes_of
from qbnnc.ir.oracle import oracle_samples
from qbnnc.ir.scales import multiplier
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType
from qbnnc.runtime import load
from qbnnc.support.errors import Loc


def codes(scale: float, zero: int = 0, bits: int = 7) -> QuantParams:
    """Make the quantisation parameters of an activation."""
    return QuantParams((f32(scale),), (zero,), 0, 2**bits - 1)


@dataclass
class Net:
    """A builder of graphs, op by op; `value` is the result of the last op."""

    shape: tuple[int, ...]
    seed: int = 0
    quant: QuantParams = field(default_factory=lambda: codes(0.03))
    build: Builder = field(default_factory=Builder)

    def __post_init__(self) -> None:
        self.rng, self.streams, self.names = np.random.default_rng(self.seed), 0, 0
        x = self.input = self.build.input("input", TensorType(DType.F32, self.shape, PER_ROW))
        high = self.quant.high
        op = QuantizeInput((0.0,), self.quant.scale, self.quant, 0, high)
        self.value = self.build.emit(op, x, loc=Loc("input"), name="input.q")

    def emit(self, op: Op, *inputs: Value) -> Value:
        """Add any op on `inputs`, or on the last value."""
        self.names += 1
        name = f"{op.name}{self.names}"
        self.value = self.build.emit(op, *(inputs or (self.value,)), loc=Loc(name), name=name)
        return self.value

    def constant(self, array: Array, quant: QuantParams | None = None) -> Value:
        self.names += 1
        return self.build.constant(f"constant{self.names}", array, quant)

    def weight(self, *shape: int, bits: int = 8, zero: int = 0, tensor: bool = False) -> Value:
        """Make random weights, with a scale for each channel or one; `zero` makes them affine."""
        high = 2 ** (bits - 1) - 1
        low, count = -high - (zero != 0), 1 if tensor else shape[0]
        scale = tuple(f32(s) for s in self.rng.uniform(0.001, 0.01, count))
        zeros = (zero,) if tensor else tuple((zero + i) % (high + 1) for i in range(count))
        quant = QuantParams(scale, zeros if zero else (0,) * count, low, high,
                            None if tensor else 0)  # fmt: skip
        return self.constant(self.rng.integers(low, high + 1, shape).astype(np.int8), quant)

    def bias(self, count: int, spread: int = 4000) -> Value:
        return self.constant(self.rng.integers(-spread, spread + 1, count).astype(np.int32))

    def accumulators(self, op: Conv2dInteger | LinearInteger, weight: Value) -> Value:
        return self.emit(op, self.value, weight, self.bias(weight.type.shape[0]))

    def conv(self, filters: int, kernel: int, op: Conv2dInteger | None = None) -> Value:
        op = Conv2dInteger() if op is None else op
        shape = (filters, self.value.type.shape[0] // op.groups, kernel, kernel)
        return self.accumulators(op, self.weight(*shape))

    def linear(self, features: int) -> Value:
        return self.accumulators(LinearInteger(), self.weight(features, self.value.type.shape[0]))

    def requantize(self, quant: QuantParams, low: int = 0, high: int | None = None) -> Value:
        """Requantise the accumulators so that they fill the codes about `quant.zero_point`."""
        acc = self.value
        factor = multiplier(codes_of(acc.type).scale, quant.scale[0])
        factor = factor.reshape(-1, *[1] * (len(acc.type.shape) - 1))
        op = Requantize(quant, low, quant.high if high is None else high)
        return self.emit(op, acc, self.constant(factor))

    def pool(self) -> Value:
        return self.emit(MaxPool2d((2, 2), (2, 2)))

    def flatten(self) -> Value:
        return self.emit(Reshape((self.value.type.size,)))

    def dropout(self, p: float, *shape: int, shared: bool = False, scale: float = 1.0) -> Value:
        """Add a dropout mask of the value's shape, or of `shape`."""
        x = self.value
        return self.emit(Select(scale), x, self.mask(*(shape or x.type.shape), p=p, shared=shared))

    def mask(self, *shape: int, p: float = 0.3, shared: bool = False) -> Value:
        self.names += 1
        keep = KeepMask(shape, p, self.streams, shared)
        self.streams += 1
        return self.build.emit(keep, loc=Loc("mask"), name=f"mask{self.names}")

    def add(self, a: Value, b: Value, quant: QuantParams) -> Value:
        return self.emit(AddQuantized(quant, quant.zero_point[0], quant.high), a, b)

    def graph(self, *outputs: Value) -> Graph:
        """Finish the model: its outputs are the dequantised last value, or the given values."""
        return self.build.graph(outputs or (self.emit(Dequantize()),), Stage.INTEGER)

    def model(self, *outputs: Value, task: Task = Task.RAW, draws: int = 1) -> Model:
        model = Model((self.graph(*outputs),), Head(task), draws)
        model.check()
        return model


def lenet(seed: int = 0, draws: int = 1, p: float | None = 0.2) -> Model:
    """LeNet-5 of 1x28x28 images: channel dropout after pools, element dropout before fc2."""
    net = Net((1, 28, 28), seed, codes(0.01))
    for filters in (6, 16):
        net.conv(filters, 5)
        net.requantize(codes(0.05))
        net.pool()
        if p is not None:
            net.dropout(p, filters, 1, 1)
    net.flatten()
    net.linear(32)
    net.requantize(codes(0.4))
    if p is not None:
        net.dropout(p, scale=1 / (1 - p))
    net.linear(10)
    return net.model(task=Task.CLASSIFICATION, draws=draws)


def mlp(seed: int = 0, draws: int = 1, p: float = 0.1) -> Model:
    """A regression with two outputs, mu and log variance."""
    net = Net((10,), seed, codes(0.05, 64))
    for width in (50, 50):
        net.linear(width)
        net.requantize(codes(0.06, 20), low=20)
        net.dropout(p)
    hidden = net.value
    net.linear(1)
    mu = net.emit(Dequantize())
    net.value = hidden
    net.linear(1)
    return net.model(mu, net.emit(Dequantize()), task=Task.REGRESSION, draws=draws)


def resnet(seed: int = 0, draws: int = 1) -> Model:
    """A residual block across the boundary between random and deterministic values."""
    net = Net((3, 8, 8), seed, codes(0.03, 60))
    padded = Conv2dInteger(padding=(1, 1, 1, 1))
    net.conv(8, 3, padded)
    stem = net.requantize(codes(0.1))
    net.conv(8, 3, padded)
    net.requantize(codes(0.2))
    net.dropout(0.3)
    net.conv(8, 3, padded)
    branch = net.requantize(codes(0.2, 64))
    net.add(branch, stem, codes(0.15, 10))
    net.pool()
    net.flatten()
    net.linear(5)
    return net.model(task=Task.CLASSIFICATION, draws=draws)


def images(model: Model, rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Make images [rows, *shape] whose values exceed the input's codes on both sides."""
    entry = model.graph.nodes[0].op
    assert isinstance(entry, QuantizeInput)
    scale, zero = entry.quant.per_tensor
    low, high = (scale * (c - zero) for c in (entry.quant.low - 4, entry.quant.high + 4))
    shape = (rows, *model.graph.input.type.shape)
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def assert_equal(
    model: Model,
    x: NDArray[np.float32],
    *,
    samples: int = 1,
    seed: int = 0,
    first_row: int = 0,
    batch_size: int | None = None,
) -> None:
    """Assert that every bit of the runtime's samples is the oracle's."""
    p = load(model).predict(x, samples, seed, first_row, batch_size)
    want = oracle_samples(model, x, samples=samples, seed=seed, first_row=first_row)
    for name, expected in zip(model.head.sample_names(len(want)), want, strict=True):
        np.testing.assert_array_equal(p[name].view(np.uint32), expected.view(np.uint32), name)
