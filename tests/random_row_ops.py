"""Random graphs with ops that work on whole rows, and on the windows of another value."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.arithmetic import f32
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import (
    KeepMask,
    MaxPool2d,
    MaxUnpool,
    MultiplyInteger,
    NormalizeInteger,
    Requantize,
    Select,
    SoftmaxInteger,
    SumOfProductsInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import multiplier, state_quant
from tests.random_graph import RandomGraph


class RandomGraphOfRowOps(RandomGraph):
    """Steps that are softmaxes, norms, unpoolings and recurrences."""

    def recurrence(self, name: str) -> Value:
        """Two or three steps of a state, which is now and then clipped, and leaves as codes."""
        shape, quant = self.value.type.shape, state_quant(-self.choose((0.05, 1.0, 20.0)), 0.01)
        op, state = SumOfProductsInteger(quant), list[Value]()
        for number in range(self.choose((2, 3))):
            others = [self.other(shape, f"{name}.{number}.{i}") for i in range(3)]
            inputs = [others[0], state[0], *others[1:]] if state else [others[0], self.value]
            first = self.choose((0, 2)) % len(inputs)
            inputs = [*inputs[first:], *inputs[:first]]
            state = [self.emit(op, *inputs, name=f"{name}.{number}.state")]
        view = self.observed(self.data[state[0]] * np.float32(quant.scale[0]))
        m = self.build.constant(f"{name}.m", multiplier(quant.scale, view.scale[0]))
        assert codes_of(state[0].type) == quant
        return self.emit(Requantize(view, *self.bounds(view)), state[0], m, name=f"{name}.q")

    def unpool(self, name: str) -> Value:
        """Codes of any origin at the maxima of the image, and sometimes its own maxima."""
        image = self.value
        _, height, width = image.type.shape
        kernel = tuple(self.choose([k for k in (1, 2, 3) if n % k == 0]) for n in (height, width))
        op = MaxUnpool((kernel[0], kernel[1]))
        shape = (image.type.shape[0], height // kernel[0], width // kernel[1])
        pooled = self.emit(MaxPool2d(op.kernel, op.kernel), image, name=f"{name}.pooled")
        values = pooled if self.choose((True, False)) else self.other(shape, name)
        return self.emit(op, values, image, name=f"{name}.back")

    def softmax(self, name: str) -> Value:
        """Of codes or of a product, maybe with a mask and a bias; sharp, flat or between."""
        x, shape = self.value, self.value.type.shape
        if self.choose((True, False)):
            x = self.emit(MultiplyInteger(), x, self.other(shape, name), name=f"{name}.acc")
        step, constants = self.choose((0.5, 0.05, 0.002)), list[Value]()
        exponentials = 65536 * np.exp(-step * np.arange(self.choose((1, 40, 700))))
        table = self.build.constant(f"{name}.e", np.rint(exponentials).astype(np.int32))
        row = (*[1] * (len(shape) - 1), shape[-1])
        if self.choose((True, False)):
            mask = (self.rng.random(self.choose((shape, row))) < 0.6).astype(np.uint8)
            mask[..., self.rng.integers(shape[-1])] = 1
            constants.append(self.build.constant(f"{name}.mask", mask))
        if self.choose((True, False)):
            bias = self.rng.integers(-40, 40, self.choose((shape, row))).astype(np.int32)
            constants.append(self.build.constant(f"{name}.bias", bias))
        quant = self.observed(self.rng.uniform(0, self.choose((1.0, 0.1)), 50))
        multiplier = self.choose((1.0, f32(0.37), f32(0.003)))
        op = SoftmaxInteger(quant, *self.bounds(quant), multiplier)
        return self.emit(op, x, table, *constants, name=f"{name}.q")

    def norm(self, name: str) -> Value:
        """Groups of the last axes; weights that differ or repeat along any of all axes."""
        shape, rng = self.value.type.shape, self.rng
        axes = self.choose(tuple(range(1, len(shape) + 1)))
        lengths = tuple(self.choose((1, extent)) for extent in shape)
        weight, bias = (rng.normal(0, s, lengths).astype(np.float32) for s in (30.0, 20.0))
        constants = [
            self.build.constant(f"{name}.{what}", a) for what, a in (("g", weight), ("b", bias))
        ]
        quant = self.observed(rng.normal(0, 30, 50))
        eps, outer = self.choose((0.0, 12.5, 1e9)), self.choose((0.0, 0.0, 3.25))
        centred, floor = self.choose((True, False)), self.choose((2.0**-100, 40.0))
        op = NormalizeInteger(axes, eps, outer, floor, quant, *self.bounds(quant), centred)
        return self.emit(op, self.value, *constants, name=f"{name}.norm")

    def other(self, shape: tuple[int, ...], name: str) -> Value:
        """Codes that vary with nothing, the sample, or what the value varies with, and more."""
        kinds = ["constant", "self"] + (["sample", "masked"] if self.dropout else [])
        kind: str = self.choose(kinds)
        if kind in ("self", "masked") and shape == self.value.type.shape:
            return self.value if kind == "self" else self.masked(f"{name}.other")
        quant = self.observed(self.rng.normal(0.2, 1, 50))
        codes = self.rng.integers(0, quant.high + 1, shape).astype(np.uint8)
        constant = self.build.constant(f"{name}.constant", codes, quant)
        if kind != "sample":
            return constant
        mask = self.emit(KeepMask(shape, 0.3, self.streams, True), name=f"{name}.keep")
        self.streams += 1
        return self.emit(Select(), constant, mask, name=f"{name}.sample")
