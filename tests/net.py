"""Builds FLOAT graphs layer by layer, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.ops import (
    Add,
    Affine,
    AveragePool2d,
    BatchNorm,
    Choice,
    Clamp,
    Conv2d,
    Function,
    KeepMask,
    Linear,
    Mask,
    MaxPool2d,
    Normal,
    Reshape,
    SampledWeight,
    Unary,
)
from qbnnc.ir.ops.base import Op, RandomOp
from qbnnc.ir.types import PER_ROW, Array, DType, Stage, TensorType
from qbnnc.support.errors import Loc

RELU = Clamp(0.0, None)


@dataclass
class Net:
    """Builds a graph layer by layer; `value` is what the last layer gave."""

    shape: tuple[int, ...]
    seed: int = 0
    build: Builder = field(default_factory=Builder)
    streams: int = 0

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        self.value = self.build.input("input", TensorType(DType.F32, self.shape, PER_ROW))
        self.calls: dict[str, int] = {}

    def emit(self, op: Op, *more: Value, name: str) -> Net:
        self.value = self.build.emit(op, self.value, *more, loc=Loc(name, "net.py:1"), name=name)
        return self

    def constant(self, name: str, *shape: int, scale: float = 1.0, base: float = 0.0) -> Value:
        array = base + scale * self.rng.normal(size=shape)
        return self.build.constant(name, array.astype(np.float32))

    def conv(self, channels: int, kernel: int, name: str, op: Conv2d | None = None) -> Net:
        op = Conv2d() if op is None else op
        fan_in = self.value.type.shape[0] // op.groups
        shape = (channels, fan_in, kernel, kernel)
        weight = self.constant(f"{name}.weight", *shape, scale=(fan_in * kernel**2) ** -0.5)
        bias = self.constant(f"{name}.bias", channels, scale=0.3)
        return self.emit(op, weight, bias, name=name)

    def linear(self, features: int, name: str) -> Net:
        fan_in = self.value.type.shape[0]
        weight = self.constant(f"{name}.weight", features, fan_in, scale=fan_in**-0.5)
        bias = self.constant(f"{name}.bias", features, scale=0.3)
        return self.emit(Linear(), weight, bias, name=name)

    def sampled(self, name: str, mu: Array, sigma: Array, index: Array | None = None) -> Value:
        """mu + sigma*eps; noise in mu's shape, or flat and rearranged by `index`."""
        loc, shape = Loc(name, "net.py:1"), mu.shape if index is None else (mu.size + 3,)
        eps = self.build.emit(Normal(shape, self.streams), loc=loc, name=f"{name}.eps")
        self.streams += 1
        constants = [
            self.build.constant(f"{name}.{what}", a.astype(np.float32))
            for what, a in (("mu", mu), ("sigma", sigma))
        ]
        more = () if index is None else (self.build.constant(f"{name}.index", index),)
        return self.build.emit(SampledWeight(), *constants, eps, *more, loc=loc, name=name)

    def bayesian(
        self, outputs: int, name: str, op: Linear | Conv2d, *, sampled_bias: bool = True
    ) -> Net:
        """A layer with a sampled weight (3x3 for a convolution), and bias."""
        fan_in = self.value.type.shape[0] // (op.groups if isinstance(op, Conv2d) else 1)
        shape = (outputs, fan_in, 3, 3) if isinstance(op, Conv2d) else (outputs, fan_in)
        spread = float(np.prod(shape[1:])) ** -0.5
        mu = self.rng.normal(size=shape) * spread
        sigma = self.rng.uniform(0, 0.5, shape) * spread
        sigma[0] = 0  # a channel without noise
        weight = self.sampled(f"{name}.weight", mu, sigma)
        if sampled_bias:
            pair = self.rng.normal(size=outputs) * 0.2, self.rng.uniform(0, 0.2, outputs)
            bias = self.sampled(f"{name}.bias", *pair)
        else:
            bias = self.constant(f"{name}.bias", outputs, scale=0.2)
        return self.emit(op, weight, bias, name=name)

    def drawn(self, op: RandomOp, name: str) -> Value:
        """What a random op draws, from the next stream."""
        self.streams += 1
        return self.build.emit(op, loc=Loc(name, "net.py:1"), name=name)

    def choice(self, name: str, index: Value, *shape: int, scale: float = 1.0) -> Value:
        """One of several constants, by an index."""
        assert index.type.quant is not None
        values = self.constant(f"{name}.values", index.type.quant.high + 1, *shape, scale=scale)
        return self.build.emit(Choice(), values, index, loc=Loc(name, "net.py:1"), name=name)

    def dropped(self, name: str, parameter: Value, p: float) -> Value:
        """A weight of which a mask drops elements."""
        keep = self.drawn(KeepMask(parameter.type.shape, p, self.streams, True), f"{name}.keep")
        return self.build.emit(Mask(1.0), parameter, keep, loc=Loc(name, "net.py:1"), name=name)

    def unary(self, function: Function, name: str, parameter: float = 0.0) -> Net:
        return self.emit(Unary(function, parameter), name=name)

    def batch_norm(self, name: str) -> Net:
        channels = self.value.type.shape[0]
        weight = self.constant(f"{name}.weight", channels, scale=0.5, base=0.3)
        bias, mean = (self.constant(f"{name}.{w}", channels, scale=0.5) for w in ("bias", "mean"))
        var = self.build.constant(f"{name}.var", self.rng.uniform(0.2, 2, channels).astype("f4"))
        return self.emit(BatchNorm(1e-5), weight, bias, mean, var, name=name)

    def affine(self, scale: Array, shift: Array, name: str) -> Net:
        pair = (self.build.constant(f"{name}.{w}", a) for w, a in (("a", scale), ("b", shift)))
        return self.emit(Affine(), *pair, name=name)

    def relu(self, name: str) -> Net:
        return self.emit(RELU, name=name)

    def max_pool(self, name: str) -> Net:
        return self.emit(MaxPool2d((2, 2), (2, 2)), name=name)

    def average_pool(self, name: str) -> Net:
        return self.emit(AveragePool2d((2, 2), (2, 2)), name=name)

    def flatten(self, name: str) -> Net:
        return self.emit(Reshape((self.value.type.size,)), name=name)

    def dropout(self, p: float, name: str, *, channels: bool = False) -> Net:
        shape = self.value.type.shape
        drawn = (shape[0], *[1] * (len(shape) - 1)) if channels else shape
        loc = Loc(name, "net.py:1")
        keep = self.build.emit(KeepMask(drawn, p, self.streams), loc=loc, name=f"{name}.keep")
        self.streams += 1
        return self.emit(Mask(1 / (1 - p)), keep, name=name)

    def residual(self, name: str, branch: Callable[[Net], Net]) -> Net:
        before = self.value
        branch(self)
        return self.emit(Add(), before, name=name)

    def graph(self, *outputs: Value) -> Graph:
        return self.build.graph(outputs or (self.value,), Stage.FLOAT)
