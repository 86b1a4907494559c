"""A graph built again with changed ops, and with constants that fit what became of the shapes.

So windows, strides, paddings and channels that no compiler would choose still make a graph that
passes every check: what the kernels then do with it is what is tested.
"""

from __future__ import annotations

from dataclasses import replace
from math import gcd, prod
from random import Random

import numpy as np

from qbnnc.ir.arithmetic import f32
from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import (
    Concat,
    Conv2dInteger,
    Dequantize,
    Gather,
    KeepMask,
    LinearInteger,
    Lookup,
    LookupReal,
    MaxPool2d,
    MultiplyInteger,
    NoiseCodes,
    Op,
    PairwiseQuantized,
    Requantize,
    Reshape,
    Select,
    Slice,
    SumPoolInteger,
    Transpose,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, DType, QuantParams, Stage
from qbnnc.support.errors import CompileError, Loc
from tests.fuzz.edges import edited, inserted

_MOST = 30_000  # elements of a value: the oracle must stay fast


class Overgrown(Exception):
    """A value became too large for a test."""


class Regrown:
    """Builds an INTEGER graph anew; `choices` decide structure, `seed` the numbers in constants."""

    def __init__(self, graph: Graph, choices: Random, seed: int, rate: float) -> None:
        self.old, self.choices, self.rate = graph, choices, rate
        self.rng = np.random.default_rng(seed)
        self.build, self.new, self.names = Builder(), dict[Value, Value](), 0
        self.streams = 1000  # those of new masks: no seed has so many

    def graph(self) -> Graph:
        """The new graph; CompileError or Overgrown if it came to nothing."""
        old = self.old
        shape = old.input.type.shape
        if self.happens(0.3):
            shape = tuple(
                self.choices.choice((n, n, n + 1, max(1, n - 1), 2 * n, 1)) for n in shape
            )
        entry = self.build.input(old.input.name, replace(old.input.type, shape=shape))
        self.new[old.input] = entry
        for value, array in old.constants.items():
            self.new[value] = self.build.constant(
                value.name, self.contents(array, value), value.type.quant
            )
        for node in old.nodes:
            made = self.node(node)
            if made.type.size > _MOST:
                raise Overgrown(f"{made.type}")
            if made.type.dtype is DType.U8 and made.type.quant and self.happens(0.05):
                made = self.extra(made)
            self.new[node.output] = made
        return self.build.graph(tuple(self.new[v] for v in old.outputs), Stage.INTEGER)

    def happens(self, probability: float) -> bool:
        return self.choices.random() < probability * self.rate

    def contents(self, array: Array, value: Value) -> Array:
        """The constant, or one at the ends of what its type allows."""
        if not self.happens(0.1) or array.dtype == np.float32 or not array.size:
            return array
        info = np.iinfo(array.dtype)
        quant = value.type.quant
        low, high = (info.min, info.max) if quant is None else (quant.low, quant.high)
        kind = self.choices.choice(("low", "high", "ends", "any"))
        if kind == "any":
            return self.rng.integers(
                max(low, info.min), min(high, info.max) + 1, array.shape
            ).astype(array.dtype)
        ends = {"low": (low, low), "high": (high, high), "ends": (low, high)}[kind]
        return self.rng.choice(np.clip(ends, info.min, info.max), array.shape).astype(array.dtype)

    def node(self, node: Node) -> Value:
        """The value that takes the place of a node's."""
        op = node.op
        inputs = [self.new[v] for v in node.inputs]
        if self.happens(0.15):
            op = edited(op, self.choices, tuple(v.type for v in inputs))
        op, inputs = self.fitted(op, inputs)
        try:
            return self.emit(op, *inputs, name=node.output.name)
        except (CompileError, IndexError, OverflowError):
            if len(inputs) == 1 and inputs[0].type.quant is not None:
                return inputs[0]  # a move that does not fit is left out
            raise

    def emit(self, op: Op, *inputs: Value, name: str) -> Value:
        self.names += 1
        return self.build.emit(op, *inputs, loc=Loc(name, "net.py:1"), name=f"{name}.{self.names}")

    def extra(self, x: Value) -> Value:
        """Another node behind one that gives codes; `x` itself if it does not fit."""
        op = inserted(self.choices, x.type)
        try:
            return self.emit(op, x, name="extra")
        except (CompileError, IndexError, OverflowError):
            return x

    def fitted(self, op: Op, inputs: list[Value]) -> tuple[Op, list[Value]]:
        """The op and its inputs, changed where the shapes are no longer what they were."""
        x = inputs[0] if inputs else None
        match op, x:
            case LinearInteger(), Value():
                return op, self.linear(self.flat(x), inputs)
            case Conv2dInteger(), Value():
                return self.convolution(op, self.image(x), inputs)
            case MaxPool2d() | SumPoolInteger(), Value():
                return self.pool(op, self.image(x))
            case Requantize(), Value():
                return op, [x, self.multipliers(x, inputs[1])]
            case Select(), Value():
                return op, [x, self.mask(x, inputs[1])]
            case PairwiseQuantized() | MultiplyInteger(), Value() if (
                x.type.shape != inputs[1].type.shape
            ):
                return op, [x, self.alike(x, inputs[1], op)]
            case Lookup() | LookupReal(), Value():
                return op, [x, self.table(x, inputs[1])]
            case Dequantize(), _:
                return Dequantize(), inputs
            case Concat(), Value():
                return Concat(op.axis % max(1, len(x.type.shape))), self.joined(op, inputs)
            case Reshape() | Transpose() | Slice() | Gather(), Value():
                return self.moved(op, x), [x]
        return op, inputs

    def flat(self, x: Value) -> Value:
        if len(x.type.shape) == 1 or x.type.quant is None:
            return x
        return self.emit(Reshape((x.type.size,)), x, name="flat")

    def image(self, x: Value) -> Value:
        if len(x.type.shape) == 3:
            return x
        return self.emit(Reshape((1, 1, x.type.size)), x, name="image")

    def linear(self, x: Value, inputs: list[Value]) -> list[Value]:
        _, weight, bias = inputs
        count = weight.type.shape[0]
        if self.happens(0.2):
            count = self.choices.choice((1, 2, 7, 8, 9, 15, 16, 17, 31, 33))
        shape = (count, *x.type.shape)
        return [x, *self.parameters(shape, weight, bias)]

    def convolution(
        self, op: Conv2dInteger, x: Value, inputs: list[Value]
    ) -> tuple[Op, list[Value]]:
        _, weight, bias = inputs
        choose, channels = self.choices.choice, x.type.shape[0]
        filters, _, *kernel = (*weight.type.shape, 1, 1)[:4]
        if self.happens(0.2):
            kernel = [choose((1, 2, 3, 3, 4, 5, 7)) for _ in range(2)]
        groups = gcd(op.groups, channels) if op.groups > 0 else 1
        if self.happens(0.1):
            groups = channels
        if self.happens(0.2):
            filters = choose((1, 2, 7, 8, 9, 15, 16, 17, 33))
        filters = -(-filters // groups) * groups
        shape = (filters, channels // groups, *kernel)
        return replace(op, groups=groups), [x, *self.parameters(shape, weight, bias)]

    def parameters(self, shape: tuple[int, ...], weight: Value, bias: Value) -> tuple[Value, Value]:
        """The layer's own weight and bias if they fit, else random constants of the same codes."""
        if weight.type.shape == shape:
            return weight, bias
        quant, filters = codes_of(weight.type), shape[0]
        if quant.axis is not None:
            scale = tuple(f32(quant.scale[i % len(quant.scale)]) for i in range(filters))
            zero = tuple(quant.zero_point[i % len(quant.zero_point)] for i in range(filters))
            quant = replace(quant, scale=scale, zero_point=zero)
        codes = self.rng.integers(quant.low, quant.high + 1, shape).astype(np.int8)
        ends = self.rng.integers(-5000, 5001, filters).astype(np.int32)
        self.names += 1
        return (
            self.build.constant(f"weight.{self.names}", codes, quant),
            self.build.constant(f"bias.{self.names}", ends),
        )

    def pool(self, op: MaxPool2d | SumPoolInteger, x: Value) -> tuple[Op, list[Value]]:
        try:
            op.output_shape((x.type,))
        except ValueError:
            op = replace(op, kernel=(1, 1), dilation=(1, 1))
        return op, [x]

    def multipliers(self, acc: Value, m: Value) -> Value:
        shape, array = acc.type.shape, self.build.array(m)
        fits = len(m.type.shape) <= len(shape) and all(
            a in (1, b) for a, b in zip(m.type.shape[::-1], shape[::-1], strict=False)
        )
        if fits or array is None:
            return m
        ones = (shape[0], *[1] * (len(shape) - 1)) if self.choices.random() < 0.5 else ()
        return self.constant("m", np.resize(array, ones).astype(np.float32))

    def mask(self, x: Value, mask: Value) -> Value:
        shape = x.type.shape
        if len(mask.type.shape) == len(shape) and all(
            a in (1, b) for a, b in zip(mask.type.shape, shape, strict=True)
        ):
            return mask
        self.streams += 1
        if self.choices.random() < 0.3:
            shape = (*shape[:1], *[1] * (len(shape) - 1))
        shared = x.type.dtype is not DType.U8 or self.choices.random() < 0.3
        op = KeepMask(shape, 0.3, self.streams, shared)
        return self.emit(op, name="mask")

    def alike(self, x: Value, other: Value, op: Op) -> Value:
        """A second operand: the first, or a constant of its shape (or one number a channel)."""
        shape = x.type.shape
        broadcasts = len(other.type.shape) == len(shape) and all(
            a == b or 1 in (a, b) for a, b in zip(other.type.shape, shape, strict=True)
        )
        if isinstance(op, MultiplyInteger) and broadcasts:
            return other
        maker = self.build.producer(other)
        if maker is not None and isinstance(maker.op, NoiseCodes):
            self.streams += 1
            return self.emit(replace(maker.op, shape=shape, stream=self.streams), name="noise")
        if x.type.dtype is not DType.U8 or self.choices.random() < 0.5:
            return x
        quant = QuantParams(*(codes_of(x.type).scale, codes_of(x.type).zero_point), 0, 255)
        return self.constant("other", self.rng.integers(0, 256, shape).astype(np.uint8), quant)

    def table(self, x: Value, table: Value) -> Value:
        array, count = self.build.array(table), codes_of(x.type).high + 1
        if array is None or array.shape == (count,):
            return table
        return self.constant("table", np.resize(array, count).astype(array.dtype))

    def joined(self, op: Concat, inputs: list[Value]) -> list[Value]:
        """The inputs that fit the first; the first itself takes the place of the others."""
        first = inputs[0]
        axis = op.axis % max(1, len(first.type.shape))

        def around(value: Value) -> tuple[object, ...]:
            shape = value.type.shape
            return value.type.quant, (*shape[:axis], -1, *shape[axis + 1 :])

        return [v if around(v) == around(first) else first for v in inputs]

    def moved(self, op: Reshape | Transpose | Slice | Gather, x: Value) -> Op:
        shape = x.type.shape
        match op:
            case Reshape() if prod(op.shape) != x.type.size:
                return Reshape((x.type.size,))
            case Transpose() if len(op.permutation) != len(shape):
                return Transpose(tuple(range(len(shape)))[::-1])
            case Slice() if op.axis >= len(shape):
                return replace(op, axis=0)
            case Gather():
                axis = op.axis % len(shape)
                return Gather(axis, tuple(i % shape[axis] for i in op.indices))
        return op

    def constant(self, name: str, array: Array, quant: QuantParams | None = None) -> Value:
        self.names += 1
        return self.build.constant(f"{name}.{self.names}", array, quant)
