"""Models that choose between constants, draw noise, or drop weights, built by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qbnnc.ir.graph import Value
from qbnnc.ir.model import Model
from qbnnc.ir.ops import Choice, ChoiceIndex, KeepMask, LinearInteger, NoiseCodes, Op, Select
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import QuantParams
from qbnnc.support.errors import Loc
from tests.runtime.nets import codes
from tests.runtime.sampled import BayesNet


class DrawsNet(BayesNet):
    """A BayesNet with choices, noise on activations, and masks of weights."""

    def drawn(self, op: Op) -> Value:
        """Add a random op; the last value stays."""
        self.names += 1
        return self.build.emit(op, loc=Loc(op.name), name=f"{op.name}{self.names}")

    def kept(self, op: Op, *inputs: Value) -> Value:
        """Add an op; the last value stays."""
        last = self.value
        made = self.emit(op, *inputs)
        self.value = last
        return made

    def index(self, count: int, *, shared: bool = True) -> Value:
        self.streams += 1
        return self.drawn(ChoiceIndex(count, self.streams - 1, shared))

    def noise(self, *shape: int, shared: bool = False, inverted: bool = False) -> Value:
        """Add noise with the codes 0..31, some of which never come."""
        self.streams += 1
        lanes = self.rng.choice([0, 65536, *range(2000, 65000, 1500)], 31)
        thresholds, quant = tuple(sorted(int(n) for n in lanes)), codes(0.06, 11, bits=5)
        return self.drawn(NoiseCodes(shape, self.streams - 1, thresholds, quant, shared, inverted))

    def many(self, count: int, constant: Value) -> Value:
        """Add `count` constants like this one, as one."""
        array, quant = self.build.array(constant), constant.type.quant
        assert array is not None
        if quant is not None and quant.axis is not None:
            quant = replace(quant, axis=quant.axis + 1)
        others = [self.rng.permutation(array.reshape(-1)) for _ in range(count - 1)]
        whole = np.stack([array, *(other.reshape(array.shape) for other in others)])
        return self.constant(whole, quant)

    def chosen(self, constant: Value, index: Value | None = None, count: int = 3) -> Value:
        """Add one of some constants like this one."""
        number = self.index(count) if index is None else index
        return self.kept(Choice(), self.many(count, constant), number)

    def chosen_codes(self, shape: tuple[int, ...], index: Value) -> Value:
        """Add one of some constants of an activation's codes."""
        quant, count = codes(0.05, 9), codes_of(index.type).high + 1
        values = self.rng.integers(0, 128, (count, *shape)).astype(np.uint8)
        return self.kept(Choice(), self.constant(values, quant), index)

    def dropped(self, parameter: Value, *shape: int, p: float = 0.4) -> Value:
        """Put a weight or bias under a mask of its shape, or of `shape`."""
        mask = self.drawn(KeepMask(shape or parameter.type.shape, p, self.streams, True))
        self.streams += 1
        return self.kept(Select(), parameter, mask)

    def coded_bias(self, weight: Value, spread: int = 4000) -> Value:
        """Add a bias with the scales that a mask or a choice of it asks for."""
        x, its = codes_of(self.value.type), codes_of(weight.type)
        scale = tuple(float(np.float32(x.per_tensor[0]) * np.float32(s)) for s in its.scale)
        quant = QuantParams(scale, (0,) * len(scale), -(2**31), 2**31 - 1, its.axis)
        count = weight.type.shape[0]
        array = self.rng.integers(-spread, spread + 1, count).astype(np.int32)
        return self.constant(array, quant)


def last_layer_chosen(seed: int = 0, draws: int = 1, *, width: int = 33, count: int = 5) -> Model:
    """An MLP whose last weight and bias are one of some constants, by one number."""
    net = DrawsNet((9,), seed, codes(0.03, 40))
    net.linear(width)
    net.requantize(codes(0.1, 20))
    weight, index = net.weight(3, width), net.index(count)
    bias = net.coded_bias(weight)
    parameters = (net.chosen(each, index, count) for each in (weight, bias))
    net.emit(LinearInteger(), net.value, *parameters)
    return net.model(draws=draws)


def drop_connect(seed: int = 0, draws: int = 1) -> Model:
    """An MLP whose weights and biases are under masks; the last ones are chosen before that."""
    net = DrawsNet((9,), seed, codes(0.03, 40))
    weight = net.weight(33, 9)
    net.emit(LinearInteger(), net.value, net.dropped(weight), net.dropped(net.coded_bias(weight)))
    net.observed(20)
    weight = net.weight(3, 33, zero=5)
    bias = net.dropped(net.chosen(net.coded_bias(weight)), 1)
    net.emit(LinearInteger(), net.value, net.dropped(net.chosen(weight)), bias)
    return net.model(draws=draws)


def noisy(seed: int = 0, draws: int = 1) -> Model:
    """A convolution times noise of each row, plus noise that the rows share, plus a choice."""
    net = DrawsNet((3, 5, 6), seed, codes(0.03, 40))
    net.conv(4, 3)
    x = net.requantize(codes(0.2, 30))
    x = net.add(x, net.noise(4, 3, 4), codes(0.2, 30))
    x = net.add(x, net.noise(4, 3, 4, shared=True, inverted=True), codes(0.2, 30))
    net.value = net.add(x, net.chosen_codes((4, 3, 4), net.index(6, shared=False)), codes(0.2, 9))
    net.flatten()
    net.linear(5)
    return net.model(draws=draws)
