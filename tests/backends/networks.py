"""A small network whose names and bits can be chosen, and what is in its ONNX file."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
from onnx import numpy_helper

from qbnnc.backends.onnx import emit
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Conv2dInteger,
    Dequantize,
    KeepMask,
    LinearInteger,
    Op,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import activation_quant, multiplier
from qbnnc.ir.types import PER_ROW, Array, DType, QuantParams, Stage, TensorType
from qbnnc.support.errors import Loc


class Lenet:
    """input -> conv1 -> dropout -> fc, with names and bits to choose."""

    def __init__(self, activation_bits: int = 7, weight_bits: int = 8, zero: int = 0) -> None:
        self.build, self.rng = Builder(), np.random.default_rng(0)
        self.activation_bits, self.weight_bits, self.zero = activation_bits, weight_bits, zero

    def emit(self, op: Op, *inputs: Value, name: str) -> Value:
        return self.build.emit(op, *inputs, loc=Loc(name, "net.py:1"), name=name)

    def weight(self, name: str, *shape: int) -> Value:
        high = 2 ** (self.weight_bits - 1) - 1
        codes = self.rng.integers(-high, high + 1, shape).astype(np.int8)
        zeros = (self.zero,) * shape[0]
        quant = QuantParams((0.0078125,) * shape[0], zeros, -high - 1, high, 0)
        return self.build.constant(name, codes, quant)

    def bias(self, name: str, count: int) -> Value:
        return self.build.constant(name, self.rng.integers(-99, 99, count).astype(np.int32))

    def model(self, conv: str = "conv1.q", drop: str = "drop", out: str = "fc") -> Model:
        x = self.build.input("input", TensorType(DType.F32, (2, 6, 6), PER_ROW))
        quant = activation_quant(-1.0, 1.0, self.activation_bits)
        zero, high = quant.zero_point[0], quant.high
        q = self.emit(QuantizeInput((0.0,), quant.scale, quant, 0, high), x, name="input.q")
        acc = self.emit(
            Conv2dInteger(folded=False),
            q,
            self.weight("conv1.weight", 3, 2, 3, 3),
            self.bias("conv1.bias", 3),
            name="conv1",
        )
        y = activation_quant(-2.0, 2.0, self.activation_bits)
        m = multiplier(codes_of(acc.type).scale, y.scale[0]).reshape(-1, 1, 1)
        factor = self.build.constant("conv1.m", m)
        codes = self.emit(Requantize(y, zero, high), acc, factor, name=conv)
        keep = self.emit(KeepMask((3, 1, 1), 0.5, 0), name=f"{drop}.keep")
        masked = self.emit(Select(), codes, keep, name=drop)
        flat = self.emit(Reshape((48,)), masked, name="flatten")
        logits = self.emit(
            LinearInteger(),
            flat,
            self.weight("fc.weight", 4, 48),
            self.bias("fc.bias", 4),
            name="fc.acc",
        )
        real = self.emit(Dequantize(), logits, name=out)
        model = Model((self.build.graph((real,), Stage.INTEGER),), Head(Task.RAW), 3)
        model.check()
        return model


def proto_of(model: Model) -> onnx.ModelProto:
    return onnx.load_model_from_string(emit(model))


def sign(proto: onnx.ModelProto) -> None:
    """A digest that is right, as by somebody who knows how it is made."""
    for entry in [p for p in proto.metadata_props if p.key == "content"]:
        proto.metadata_props.remove(entry)
    whole = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    proto.metadata_props.add(key="content", value=whole)


def initializers(proto: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
