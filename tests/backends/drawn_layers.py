"""Graphs of layers whose weights and biases are drawn, for tests of the ONNX writer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from qbnnc.ir.graph import Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Conv2dInteger,
    Dequantize,
    KeepMask,
    LinearInteger,
    Select,
)
from qbnnc.ir.scales import activation_quant
from qbnnc.ir.types import CONSTANT, Stage
from tests.random_ops import RandomGraphOfAllOps

T = TypeVar("T")
CONVOLUTIONS = (
    Conv2dInteger((1, 2), (1, 0, 2, 1)),
    Conv2dInteger(padding=(1, 1, 1, 1), groups=2),
    Conv2dInteger((2, 1), groups=4),
    Conv2dInteger(padding=(2, 2, 2, 2), dilation=(2, 1)),
)


class Layers(RandomGraphOfAllOps):
    """A graph of images [4, 7, 7] to which a test adds what it wants; weights are random."""

    def __init__(self, seed: int = 0, bits: int = 0) -> None:
        rng, self.fixed = np.random.default_rng(seed), bits
        self.input_axes = CONSTANT

        def choose(options: Sequence[T]) -> T:
            image, rare = (4, 7, 7), (False, False, False, True)  # a multiplier no kernel has
            if image in options or tuple(options) == rare:
                return options[0 if tuple(options) == rare else options.index(image)]
            return options[int(rng.integers(len(options)))]

        super().__init__(choose, seed, dropout=True, sampled=True)

    def bits(self, *common: int) -> int:
        return self.fixed or super().bits(*common)

    def input_of(self, kind: str) -> Value:
        """The image, with other axes: "constant", "row", "sample" or "both"."""
        row, shape = self.value, self.value.type.shape
        if kind == "row":
            return row
        shared = kind == "sample"
        x = self.constant_image() if kind != "both" else row
        if kind == "constant":
            return x
        mask = self.emit(KeepMask(shape, 0.3, self.streams, shared), name=f"{kind}.keep")
        self.streams += 1
        return self.emit(Select(), x, mask, name=f"{kind}.x")

    def constant_image(self) -> Value:
        quant = activation_quant(-1.0, 1.5, 7)
        codes = self.rng.integers(0, 128, self.value.type.shape).astype(np.uint8)
        return self.build.constant("constant", codes, quant)

    def sampled_layer(self, op: LinearInteger | Conv2dInteger, name: str, what: str) -> Value:
        """Accumulators of a layer that samples its "weight", its "bias" or "both"."""
        kernel = self.weight_shape(op, 4, 3)
        weight = self.weight(f"{name}.weight", kernel, what != "bias")
        bias = self.bias(f"{name}.bias", weight, what != "weight")
        return self.emit(op, self.value, weight, bias, name=f"{name}.acc")

    def model(self, *outputs: Value) -> Model:
        real = [self.emit(Dequantize(), v, name=f"out{i}") for i, v in enumerate(outputs)]
        model = Model((self.build.graph(tuple(real), Stage.INTEGER),), Head(Task.RAW), 3)
        model.check()
        return model

    def every_layer(self, x: str, what: str) -> Model:
        """Accumulators and codes of every kind of layer that reads the image x."""
        self.value, outputs = self.input_of(x), list[Value]()
        self.input_axes = self.value.type.axes
        for number, op in enumerate(CONVOLUTIONS):
            outputs.append(self.sampled_layer(op, f"conv{number}", what))
            fused = self.sampled_layer(op, f"fused{number}", what)
            outputs.append(self.requantize(fused, f"fused{number}.q"))
        if x != "constant":
            self.value = self.flatten("x")
            outputs.append(self.sampled_layer(LinearInteger(), "fc", what))
            outputs.append(self.requantize(outputs[-1], "fc.q"))
        return self.model(*outputs)
