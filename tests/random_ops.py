"""Random graphs with every op of the INTEGER stage: tables, products, moves, sampled weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qbnnc.ir.arithmetic import dequantize, quantize
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import (
    Concat,
    Conv2dInteger,
    EpsCodes,
    Gather,
    InsertZeros,
    LinearInteger,
    Lookup,
    LookupReal,
    MultiplyInteger,
    Op,
    Pad,
    SampledWeightInteger,
    Slice,
    SumPoolInteger,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import (
    accumulator_scale,
    bias_quant,
    sampling_divisor,
    sampling_quants,
    sampling_ratio,
    weight_quant,
)
from qbnnc.ir.types import CONSTANT, Array, QuantParams
from tests.random_graph import Choose, Step
from tests.random_row_ops import RandomGraphOfRowOps

_LARGEST_IMAGE = 8


class RandomGraphOfAllOps(RandomGraphOfRowOps):
    """`sampled`: layers may sample their weight, their bias or both."""

    def __init__(self, choose: Choose, seed: int, dropout: bool, sampled: bool) -> None:
        self.sampled = sampled
        super().__init__(choose, seed, dropout)

    def kinds(self) -> list[str]:
        kinds = super().kinds()
        kinds += ["table", "product", "concat", "transpose", "slice", "gather", "softmax", "norm"]
        kinds += ["recurrence"]
        shape = self.value.type.shape
        if len(shape) == 3:
            kinds += ["gate", "unpool"]
            if max(shape[1:]) <= _LARGEST_IMAGE:
                kinds += ["pad", "insert_zeros", "upsample"]
        if self.sampled:
            kinds += ["layer", "layer", "twice"]
        return kinds

    def steps(self) -> dict[str, Step]:
        return super().steps() | {
            "table": self.table,
            "product": self.product,
            "gate": self.gate,
            "unpool": self.unpool,
            "norm": self.norm,
            "recurrence": self.recurrence,
            "concat": self.concat,
            "transpose": self.transpose,
            "slice": self.slice,
            "gather": self.gather,
            "softmax": self.softmax,
            "pad": self.pad,
            "insert_zeros": lambda n: self.move(InsertZeros(self.factors()), n),
            "upsample": lambda n: self.move(UpsampleNearest(self.factors()), n),
            "twice": self.twice,
        }

    def table(self, name: str) -> Value:
        """Any function of the codes, or the same numbers under another scale."""
        x = codes_of(self.value.type)
        numbers = self.rng.normal(size=x.high + 1).cumsum()
        quant = self.observed(numbers)
        codes = np.clip(np.rint(numbers / quant.scale[0]) + quant.zero_point[0], 0, quant.high)
        table = self.build.constant(f"{name}.table", codes.astype(np.uint8))
        return self.emit(Lookup(quant), self.value, table, name=f"{name}.f")

    def product(self, name: str) -> Value:
        """With another value of the same shape, or with one number a channel."""
        shape = self.value.type.shape
        other = self.other(self.choose((shape, (shape[0], *[1] * (len(shape) - 1)))), name)
        inputs = (self.value, other) if self.choose((True, False)) else (other, self.value)
        acc = self.emit(MultiplyInteger(), *inputs, name=f"{name}.acc")
        return self.requantize(acc, f"{name}.q")

    def gate(self, name: str) -> Value:
        """Squeeze and excite: the image times a table of its own mean."""
        image = self.value
        _, height, width = image.type.shape
        acc = self.emit(SumPoolInteger((height, width), (1, 1)), image, name=f"{name}.acc")
        self.value = self.requantize(acc, f"{name}.mean.q", np.array(height * width))
        gate, self.value = self.table(name), image
        product = self.emit(MultiplyInteger(), image, gate, name=f"{name}.product")
        return self.requantize(product, f"{name}.q")

    def concat(self, name: str) -> Value:
        """The value between others under its scale: a table gives them that."""
        x = self.value
        axis = self.choose(tuple(range(len(x.type.shape))))
        quant, parts = codes_of(x.type), [x]
        for number in range(self.choose((1, 2))):
            other = self.other(x.type.shape, f"{name}.{number}")
            if codes_of(other.type) != quant:
                other = self.rescaled(other, quant, f"{name}.{number}")
            parts.insert(self.choose((0, 1)), other)
        return self.emit(Concat(axis), *parts, name=f"{name}.concat")

    def rescaled(self, x: Value, quant: QuantParams, name: str) -> Value:
        codes, own = np.arange(codes_of(x.type).high + 1), codes_of(x.type)
        real = dequantize(codes, np.float32(own.scale[0]), own.zero_point[0])
        made = quantize(real, np.float32(quant.scale[0]), quant.zero_point[0], 0, quant.high)
        table = self.build.constant(f"{name}.rescale", made.astype(np.uint8))
        if x.type.axes == CONSTANT:
            array = self.build.array(x)
            assert array is not None
            return self.build.constant(f"{name}.same", made[array].astype(np.uint8), quant)
        return self.emit(Lookup(quant), x, table, name=f"{name}.same")

    def move(self, op: Op, name: str) -> Value:
        return self.emit(op, self.value, name=f"{name}.{op.name}")

    def transpose(self, name: str) -> Value:
        orders = {1: ((0,),), 2: ((1, 0), (0, 1))}
        images = ((0, 2, 1), (2, 0, 1), (1, 0, 2), (2, 1, 0))
        return self.move(
            Transpose(self.choose(orders.get(len(self.value.type.shape), images))), name
        )

    def gather(self, name: str) -> Value:
        """Elements along an axis in any order, some of them twice."""
        shape = self.value.type.shape
        axis = self.choose(tuple(range(len(shape))))
        count = self.choose((1, shape[axis], shape[axis] + 1))
        indices = self.rng.integers(0, shape[axis], count)
        return self.move(Gather(axis, tuple(int(i) for i in indices)), name)

    def slice(self, name: str) -> Value:
        """Also from and to places counted from the end, as Python does."""
        axis = self.choose(tuple(range(len(self.value.type.shape))))
        size, step = self.value.type.shape[axis], self.choose((1, 1, 2))
        ends: Sequence[tuple[int, int]] = ((0, size), (0, 99))
        if size > 2:
            ends = ((1, size), (0, -1), (-2, size), (0, 99))
        return self.move(Slice(axis, *self.choose(ends), step), name)

    def pad(self, name: str) -> Value:
        return self.move(Pad(self.choose(((1, 0, 0, 2), (0, 0, 0, 0), (2, 1, 1, 1)))), name)

    def factors(self) -> tuple[int, int]:
        return self.choose(((2, 2), (1, 3), (2, 1), (1, 1)))

    def contraction(
        self, op: LinearInteger | Conv2dInteger, name: str, outputs: int, kernel: int
    ) -> Value:
        """Grow a layer as other graphs have it, or one with a sampled weight or bias."""
        if not self.sampled or self.choose((False, False, True)):
            return super().contraction(op, name, outputs, kernel)
        what = self.choose(("weight", "bias", "both"))
        shape = self.weight_shape(op, outputs, kernel)
        weight = self.weight(f"{name}.weight", shape, what != "bias")
        bias = self.bias(f"{name}.bias", weight, what != "weight")
        return self.emit(replace(op, folded=False), self.value, weight, bias, name=f"{name}.acc")

    def twice(self, name: str) -> Value:
        """Two layers in a row with one sampled weight."""
        shape = self.value.type.shape
        if len(shape) == 2:
            self.value = self.flatten(f"{name}.flat")
            shape = self.value.type.shape
        image = len(shape) == 3
        op = Conv2dInteger((1, 1), (1, 1, 1, 1)) if image else LinearInteger()
        kernel = (3, 3) if image else ()
        weight = self.weight(f"{name}.weight", (shape[0], shape[0], *kernel), True)
        for number in range(2):
            part = f"{name}.{number}"
            bias = self.bias(f"{part}.bias", weight, self.choose((True, False)))
            acc = self.emit(op, self.value, weight, bias, name=f"{part}.acc")
            self.value = self.requantize(acc, f"{part}.q")
        return self.value

    def weight(self, name: str, shape: tuple[int, ...], sampled: bool) -> Value:
        """Codes of either granularity and symmetry; a channel may have no sigma, or nothing."""
        outputs = (shape[0], *[1] * (len(shape) - 1))
        symmetric, channels = self.choose((True, False)), self.choose((True, True, False))
        mu = self.rng.normal(0 if symmetric else 0.4, 0.5, shape)
        mu *= self.rng.uniform(0.2, 1.5, outputs) * (self.rng.random(outputs) > 0.1)
        sigma = np.abs(self.rng.normal(0, self.choose((0.3, 0.02, 1e-6)), shape))
        sigma *= self.rng.random(outputs) > 0.2
        bits, span = self.bits(8, 8, 8), np.stack([mu - 3 * sigma, mu + 3 * sigma], axis=1)
        quant = weight_quant(span, bits, np.zeros(len(mu)), symmetric=symmetric, channels=channels)
        if sampled:
            return self.sample(name, (mu, sigma), bits, channels, quant)
        return self.build.constant(name, _codes(mu, quant), quant)

    def bias(self, name: str, weight: Value, sampled: bool) -> Value:
        """About as large as the products, in codes of f32(S_x*S_w)."""
        x, count = codes_of(self.value.type), weight.type.shape[0]
        its = codes_of(weight.type)
        scales = accumulator_scale(x.per_tensor[0], its.scale)
        quant, spread = bias_quant(scales), x.high * (its.high - its.low) / 8
        mu = self.rng.normal(0, spread, count) * np.asarray(scales)
        sigma = np.abs(self.rng.normal(0, spread / 4, count)) * np.asarray(scales)
        if sampled:
            return self.sample(name, (mu, sigma), 8, self.choose((True, False)), quant)
        codes = np.rint(mu / np.asarray(scales)).astype(np.int32)
        return self.build.constant(name, codes, quant)

    def sample(
        self,
        name: str,
        real: tuple[Array, Array],
        bits: int,
        channels: bool,
        quant: QuantParams,
    ) -> Value:
        """The nodes of one sampled weight or bias, from its mean and deviation (section 6)."""
        constant, (index, eps) = self.build.constant, self.noise(name, real[0].shape)
        mu, sigma = sampling_quants(*real, bits, channels=channels)
        ones = [1] * (real[0].ndim - 1)
        inputs = (
            constant(f"{name}.mu", _codes(real[0], mu), mu),
            constant(f"{name}.sigma", _codes(real[1], sigma), sigma),
            eps,
            constant(f"{name}.R", sampling_ratio(mu, sigma).reshape(-1, *ones)),
            constant(f"{name}.r", sampling_divisor(sigma, quant.scale).reshape(-1, *ones)),
        )
        return self.emit(SampledWeightInteger(quant), *inputs, *index, name=name)

    def noise(self, name: str, shape: tuple[int, ...]) -> tuple[list[Value], Value]:
        """Noise in order, transposed, or that of some elements of a longer tensor."""
        count, kind = int(np.prod(shape)), self.choose(("plain", "flat", "transposed", "some"))
        drawn = {"plain": shape, "transposed": shape[::-1], "some": (count + 3,)}.get(
            kind, (count,)
        )
        eps = self.emit(EpsCodes(drawn, self.streams), name=f"{name}.eps")
        self.streams += self.choose((1, 2))
        if kind in ("plain", "flat"):
            return [], eps
        index = np.arange(count).reshape(shape[::-1]).T
        if kind == "some":
            index = self.rng.integers(0, count + 3, shape)
        return [self.build.constant(f"{name}.index", index.astype(np.int32))], eps

    def output(self, name: str, kind: str) -> Value:
        """Now and then numbers from a table; otherwise as in other graphs."""
        if kind != "codes" or self.choose((True, False)):
            return super().output(name, kind)
        numbers = self.rng.normal(size=codes_of(self.value.type).high + 1).astype(np.float32)
        table = self.build.constant(f"{name}.table", numbers)
        return self.emit(LookupReal(), self.value, table, name=name)


def _codes(real: Array, quant: QuantParams) -> Array:
    scale, zero = quant.scale_array(real.ndim), quant.zero_point_array(real.ndim)
    return quantize(real.astype(np.float32), scale, zero, quant.low, quant.high).astype(np.int8)
