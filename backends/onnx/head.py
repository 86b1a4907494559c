"""The head's statistics in float64 inside the ONNX file, as qbnnc.ir.head defines them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.head import Head, Task, is_binary
from qbnnc.ir.outputs import Spread

_TO_DOUBLE, _TO_FLOAT = int(onnx_ir.DataType.DOUBLE), int(onnx_ir.DataType.FLOAT)


@dataclass(frozen=True, slots=True)
class _Doubles:
    """Arithmetic on float64 values [L, B, ...]; axis 0 holds the samples."""

    writer: Writer

    def op(self, kind: str, *inputs: onnx_ir.Value, **attributes: int) -> onnx_ir.Value:
        return self.writer.op(kind, *inputs, out=f"head/{kind.lower()}", **attributes)

    def mean(self, x: onnx_ir.Value) -> onnx_ir.Value:
        return self.op("ReduceMean", x, self.writer.ints(0), keepdims=0)

    def variance(self, x: onnx_ir.Value) -> onnx_ir.Value:
        """mean((x - mean)^2), population."""
        deviation = self.op("Sub", x, self.mean(x))
        return self.mean(self.op("Mul", deviation, deviation))

    def entropy(self, p: onnx_ir.Value, axis: int) -> onnx_ir.Value:
        """-sum p log p in nats, 0 log 0 = 0."""
        zero = self.writer.constant(np.array(0, np.float64))
        one = self.writer.constant(np.array(1, np.float64))
        safe = self.op("Where", self.op("Greater", p, zero), p, one)
        terms = self.op("Mul", p, self.op("Log", safe))
        total = self.op("ReduceSum", terms, self.writer.ints(axis), keepdims=0)
        return self.op("Neg", total)


def write_statistics(
    writer: Writer, head: Head, samples: list[onnx_ir.Value], outputs: list[onnx_ir.Value]
) -> None:
    """`outputs` are the statistics' values in the order of `Head.statistic_names`, f32."""
    doubles = _Doubles(writer)
    wide = [doubles.op("Cast", s, to=_TO_DOUBLE) for s in samples]
    match head.task:
        case Task.CLASSIFICATION:
            statistics = _classification(doubles, _class_logits(doubles, samples[0], wide[0]))
        case Task.REGRESSION:
            statistics = _regression(doubles, wide, head.spread)
        case _:
            statistics = [s for x in wide for s in (doubles.mean(x), doubles.variance(x))]
    for statistic, output in zip(statistics, outputs, strict=True):
        writer.op("Cast", statistic, out=output, to=_TO_FLOAT)


def _classification(doubles: _Doubles, logits: onnx_ir.Value) -> list[onnx_ir.Value]:
    """Mean softmax (classes on axis 2), its entropy, H(mean p) - mean H(p)."""
    each = doubles.op("Softmax", logits, axis=2)
    mean = doubles.mean(each)
    entropy = doubles.entropy(mean, 1)
    expected = doubles.mean(doubles.entropy(each, 2))
    return [mean, entropy, doubles.op("Sub", entropy, expected)]


def _class_logits(
    doubles: _Doubles, samples: onnx_ir.Value, logits: onnx_ir.Value
) -> onnx_ir.Value:
    """The logits of classes, which are (0, z) for one logit z a row or pixel."""
    assert samples.shape is not None
    shape = tuple(samples.shape)[2:]
    if not is_binary(tuple(n if isinstance(n, int) else 0 for n in shape)):
        return logits
    z = logits if shape else doubles.op("Unsqueeze", logits, doubles.writer.ints(2))
    zero = doubles.writer.constant(np.array(0, np.float64))
    return doubles.op("Concat", doubles.op("Mul", z, zero), z, axis=2)


def _variance(doubles: _Doubles, x: onnx_ir.Value, spread: Spread) -> onnx_ir.Value:
    """The variance that each number of a second output stands for."""
    match spread:
        case Spread.LOG_VARIANCE:
            return doubles.op("Exp", x)
        case Spread.VARIANCE:
            return x
        case Spread.STD:
            return doubles.op("Mul", x, x)
        case Spread.LOG_STD:
            return doubles.op("Exp", doubles.op("Add", x, x))


def _regression(
    doubles: _Doubles, samples: list[onnx_ir.Value], spread: Spread
) -> list[onnx_ir.Value]:
    mean, epistemic = doubles.mean(samples[0]), doubles.variance(samples[0])
    if len(samples) == 1:
        return [mean, epistemic, epistemic]
    aleatoric = doubles.mean(_variance(doubles, samples[1], spread))
    return [mean, aleatoric, epistemic, doubles.op("Add", aleatoric, epistemic)]
