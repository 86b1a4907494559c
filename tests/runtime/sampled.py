"""Models with sampled weights (Bayes by Backprop) that are built by hand, and their parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.graph import Value
from qbnnc.ir.head import Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Conv2dInteger,
    EpsCodes,
    LinearInteger,
    MultiplyInteger,
    Requantize,
    SampledWeightInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.rng import Draw
from qbnnc.ir.scales import (
    accumulator_scale,
    activation_quant,
    bias_quant,
    multiplier,
    sampling_divisor,
    sampling_quants,
    sampling_ratio,
    weight_quant,
)
from qbnnc.ir.types import Array, QuantParams, Stage
from qbnnc.support.errors import Loc
from tests.runtime.nets import Net, codes

Index = NDArray[np.int64]


class BayesNet(Net):
    """A Net with layers whose weights and biases are sampled."""

    def eps(self, *shape: int) -> Value:
        """Add noise from a stream of its own."""
        self.streams += 1
        op, name = EpsCodes(shape, self.streams - 1), f"eps{self.streams}"
        return self.build.emit(op, loc=Loc(name), name=name)

    def sampled(
        self,
        *shape: int,
        eps: Value | None = None,
        index: Index | None = None,
        bits: int = 8,
        symmetric: bool = True,
        channels: bool = True,
        granules: bool = True,
    ) -> Value:
        """Add a weight; `channels` and `granules` give it and mu a scale for each channel."""
        mu = self.rng.normal(0 if symmetric else 0.5, 1, shape) / np.sqrt(np.prod(shape[1:]))
        sigma = self.rng.uniform(0, 0.15, shape) * np.abs(mu).max()
        ends = np.concatenate([(mu + s * sigma).reshape(shape[0], -1) for s in (-3, 3)], axis=1)
        least = np.zeros(shape[0])
        quant = weight_quant(ends, bits, least, symmetric=symmetric, channels=channels)
        return self._draw(mu, sigma, quant, bits, eps, index, channels=granules)

    def sampled_bias(self, x: Value, weight: Value) -> Value:
        scale = accumulator_scale(codes_of(x.type).per_tensor[0], codes_of(weight.type).scale)
        count = weight.type.shape[0]
        mu, sigma = self.rng.normal(0, 0.2, count), self.rng.uniform(0.01, 0.1, count)
        return self._draw(mu, sigma, bias_quant(scale), 8, None, None, channels=len(scale) > 1)

    def _draw(
        self,
        mu: Array,
        sigma: Array,
        quant: QuantParams,
        bits: int,
        eps: Value | None,
        index: Index | None,
        *,
        channels: bool,
    ) -> Value:
        quants = sampling_quants(mu, sigma, bits, channels=channels)
        drawn = list[Value]()
        for real, q in zip((mu, sigma), quants, strict=True):
            zero, scale = q.zero_point_array(mu.ndim), q.scale_array(mu.ndim)
            whole = quantize(real.astype(np.float32), scale, zero, q.low, q.high)
            drawn.append(self.constant(whole.astype(np.int8), q))
        ones = [1] * (mu.ndim - 1)
        ratio = sampling_ratio(*quants).reshape(-1, *ones)
        divisor = sampling_divisor(quants[1], quant.scale).reshape(-1, *ones)
        noise = self.eps(*mu.shape) if eps is None else eps
        constants = [self.constant(ratio), self.constant(divisor)]
        if index is not None:
            constants.append(self.constant(index.reshape(mu.shape).astype(np.int32)))
        last = self.value
        weight = self.emit(SampledWeightInteger(quant), *drawn, noise, *constants)
        self.value = last
        return weight

    def observed(self, zero: int = 0, low: int = 0) -> Value:
        """Requantise the accumulators so that they fill the codes about `zero`."""
        acc, rows = self.value, 4
        graph = self.build.graph((acc,), Stage.INTEGER)
        x = self.rng.uniform(-1, 3, (rows, *self.shape)).astype(np.float32)
        (data,) = evaluate(graph, x, Draw.of(0, range(3), range(rows)))
        rank = len(acc.type.shape)
        spread = float(np.abs(data * codes_of(acc.type).scale_array(rank)).max())
        return self.requantize(codes(1.2 * spread / (127 - zero), zero), low)

    def bayes_conv(self, filters: int, kernel: int, op: Conv2dInteger | None = None) -> Value:
        op = Conv2dInteger() if op is None else op
        x = self.value
        weight = self.sampled(filters, x.type.shape[0] // op.groups, kernel, kernel)
        return self.emit(op, x, weight, self.sampled_bias(x, weight))

    def bayes_linear(self, features: int) -> Value:
        x = self.value
        weight = self.sampled(features, x.type.shape[0])
        return self.emit(LinearInteger(), x, weight, self.sampled_bias(x, weight))


def product(net: Net, a: Value, b: Value, zero: int = 0) -> Value:
    """Add a MultiplyInteger and a Requantize with one multiplier."""
    acc = net.emit(MultiplyInteger(), a, b)
    high = [codes_of(v.type).high * codes_of(v.type).scale[0] for v in (a, b)]
    quant = activation_quant(-0.4 * high[0] * high[1] * (zero > 0), 0.5 * high[0] * high[1], 7)
    factor = multiplier(codes_of(acc.type).scale, quant.scale[0])
    return net.emit(Requantize(quant, 0, 127), acc, net.constant(factor))


def bayes_mlp(seed: int = 0, draws: int = 1, p: float | None = None) -> Model:
    """An MLP with sampled weights and biases.

    The zero points are 40 at the input, and 0 and 20 in the hidden layers.
    """
    net = BayesNet((9,), seed, codes(0.03, 40))
    for width, zero in ((33, 0), (20, 20)):
        net.bayes_linear(width)
        net.observed(zero)
        if p is not None:
            net.dropout(p)
    net.bayes_linear(3)
    return net.model(task=Task.CLASSIFICATION, draws=draws)


def bayes_lenet(seed: int = 0, draws: int = 1) -> Model:
    """LeNet-5, whose 61,706 weights and biases are all sampled."""
    net = BayesNet((1, 28, 28), seed, codes(0.03, 20))
    for filters, padding in ((6, (2, 2, 2, 2)), (16, (0, 0, 0, 0))):
        net.bayes_conv(filters, 5, Conv2dInteger(padding=padding))
        net.observed()
        net.pool()
    net.flatten()
    for width in (120, 84):
        net.bayes_linear(width)
        net.observed()
    net.bayes_linear(10)
    return net.model(task=Task.CLASSIFICATION, draws=draws)
