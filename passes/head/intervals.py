"""Interval analysis: the numbers between which each value of a graph lies, whatever the input.

Intervals are too wide rather than too narrow, with one exception: functions of one variable are
evaluated on a grid, so that a new one needs no rule here. Unknown values are unbounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    Add,
    Affine,
    AveragePool2d,
    Clamp,
    Concat,
    Dequantize,
    FakeQuantize,
    KeepMask,
    LookupReal,
    Mask,
    MatMul,
    MaxPool2d,
    MaxUnpool,
    Multiply,
    Pointwise,
    RandomOp,
    Rearrangement,
    Softmax,
)

Float64 = NDArray[np.float64]
_INF = float("inf")
_NEAR = 80.0  # exp(-80) is not yet 0 in float32: positive values are seen to be positive
_FAR = np.array([1e3, 1e6])
_POINTS = 16_001


@dataclass(frozen=True, slots=True)
class Interval:
    """All numbers from `low` to `high`."""

    low: float = -_INF
    high: float = _INF

    @property
    def never_negative(self) -> bool:
        return self.low >= 0

    @property
    def is_probability(self) -> bool:
        return self.low >= 0 and self.high <= 1

    def with_zero(self) -> Interval:
        return Interval(min(self.low, 0.0), max(self.high, 0.0))


def intervals(graph: Graph) -> dict[Value, Interval]:
    """The interval of every value. The input, and values that no rule knows, are unbounded."""
    known = {graph.input: Interval()}
    for value, array in graph.constants.items():
        known[value] = _hull(array) if array.size else Interval()
    for node in graph.nodes:
        known[node.output] = _of_node(node, known, graph)
    return known


def _of_node(node: Node, known: Mapping[Value, Interval], graph: Graph) -> Interval:
    inputs = [known[value] for value in node.inputs]
    match node.op:
        case Clamp(low=low, high=high):
            return Interval(*(_clipped(end, low, high) for end in (inputs[0].low, inputs[0].high)))
        case Pointwise() as op:
            return _image(op.real, inputs[0])
        case Affine():
            return _sum(_products(*inputs[:2]), inputs[2])
        case Add():
            return _sum(*inputs)
        case Multiply() if _same(node.inputs[0], node.inputs[1], graph):
            return _image(np.square, inputs[0])
        case Multiply():
            return _products(*inputs)
        case MatMul(factor=factor):
            size = factor * node.inputs[0].type.shape[-1]
            return _products(_products(*inputs), Interval(size, size))
        case Mask(scale=scale):
            return _products(inputs[0], Interval(min(0.0, scale), max(0.0, scale)))
        case KeepMask():
            return Interval(0.0, 1.0)
        case Softmax(log=log):
            return Interval(-_INF, 0.0) if log else Interval(0.0, 1.0)
        case FakeQuantize():  # the ranges of codes contain 0
            return inputs[0].with_zero()
        case AveragePool2d(padding=padding) if any(padding):
            return inputs[0].with_zero()
        case AveragePool2d(kernel=kernel, divisors=divisors) if divisors:  # sums among them
            return _products(inputs[0], Interval(0.0, kernel[0] * kernel[1] / min(divisors)))
        case AveragePool2d() | MaxPool2d():
            return inputs[0]
        case Rearrangement() as op:
            return inputs[0].with_zero() if op.adds_zeros else inputs[0]
        case MaxUnpool():
            return inputs[0].with_zero()
        case Concat():
            return Interval(min(i.low for i in inputs), max(i.high for i in inputs))
        case LookupReal():
            return inputs[1]
        case Dequantize():
            return _of_codes(node.inputs[0])
        case _:
            return Interval()


def _same(a: Value, b: Value, graph: Graph) -> bool:
    """Whether two values are equal, being one, or computed alike from what is equal."""
    if a is b:
        return True
    if a in graph.constants and b in graph.constants:
        return np.array_equal(graph.constants[a], graph.constants[b])
    first, second = (graph.producers().get(value) for value in (a, b))
    if first is None or second is None or isinstance(first.op, RandomOp):
        return False
    return first.op == second.op and all(
        _same(x, y, graph) for x, y in zip(first.inputs, second.inputs, strict=True)
    )


def _of_codes(codes: Value) -> Interval:
    quant = codes.type.quant
    if quant is None or quant.bits > 8:  # accumulators
        return Interval()
    ends = [
        scale * (code - zero)
        for scale, zero in zip(quant.scale, quant.zero_point, strict=True)
        for code in (quant.low, quant.high)
    ]
    return Interval(min(ends), max(ends))


def _clipped(number: float, low: float | None, high: float | None) -> float:
    number = number if low is None else max(number, low)
    return number if high is None else min(number, high)


def _hull(array: Float64) -> Interval:
    return Interval(float(array.min()), float(array.max()))


def _sum(a: Interval, b: Interval) -> Interval:
    return Interval(a.low + b.low, a.high + b.high)


def _products(a: Interval, b: Interval) -> Interval:
    """The products of two intervals. 0 times infinity is 0: the numbers themselves are finite."""
    ends = [0.0 if 0 in pair else pair[0] * pair[1] for pair in product(_ends(a), _ends(b))]
    return Interval(min(ends), max(ends))


def _ends(interval: Interval) -> Iterable[float]:
    return interval.low, interval.high


def _image(function: Callable[[Float64], Float64], x: Interval) -> Interval:
    """The image of an interval under a function, on a grid that is close near 0."""
    near = np.linspace(max(x.low, -_NEAR), min(x.high, _NEAR), _POINTS)
    near = np.append(near, 0.0) if x.low <= 0 <= x.high else near
    far = np.array([p for p in (*-_FAR, *_FAR) if x.low <= p <= x.high])
    if x.low > _NEAR or x.high < -_NEAR:
        near, far = np.clip(far, x.low, x.high), np.array([])
    with np.errstate(all="ignore"):
        values, beyond = function(near), function(far)
    if not len(values) or np.isnan(values).any() or np.isnan(beyond).any():
        return Interval()
    low, high = float(values.min()), float(values.max())
    return Interval(
        -_INF if (beyond < min(low, 0.0)).any() else low,
        _INF if (beyond > max(high, 0.0) * (1 + 1e-9)).any() else high,
    )
