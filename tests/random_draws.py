"""Random graphs with every random op: noise, chosen weights, and weights under a mask."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Value
from qbnnc.ir.ops import (
    Choice,
    ChoiceIndex,
    KeepMask,
    MultiplyInteger,
    NoiseCodes,
    Select,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, QuantParams
from tests.random_graph import Step
from tests.random_ops import RandomGraphOfAllOps


class RandomGraphOfAllDraws(RandomGraphOfAllOps):
    """Layers may also choose their weight or bias, or drop elements of it."""

    def kinds(self) -> list[str]:
        kinds = super().kinds()
        return [*kinds, "noise", "noisy", "chosen"] if self.dropout else kinds

    def steps(self) -> dict[str, Step]:
        return super().steps() | {
            "noise": lambda n: self.add(self.value, self.noise_codes(n, self.value.type.shape), n),
            "noisy": self.noisy,
            "chosen": self.chosen,
        }

    def noise_codes(self, name: str, shape: tuple[int, ...]) -> Value:
        """Codes of any distribution: some codes may never come, and others always."""
        quant = self.observed(self.rng.normal(0, self.choose((0.1, 1.0)), 50))
        lanes = self.rng.integers(0, 65537, quant.high)
        thresholds = tuple(sorted(int(n) for n in lanes))
        shared, inverted = self.choose((False, False, True)), self.choose((True, False))
        op = NoiseCodes(shape, self.stream(), thresholds, quant, shared, inverted)
        return self.emit(op, name=f"{name}.noise")

    def noisy(self, name: str) -> Value:
        """The value times noise for each element, or for each channel."""
        shape = self.value.type.shape
        shape = self.choose((shape, (shape[0], *[1] * (len(shape) - 1))))
        noise = self.noise_codes(name, shape)
        acc = self.emit(MultiplyInteger(), self.value, noise, name=f"{name}.acc")
        return self.requantize(acc, f"{name}.q")

    def chosen(self, name: str) -> Value:
        """The value times one of several constants, which all rows share or each has its own."""
        shape, count = self.value.type.shape, self.choose((2, 3, 7))
        quant = self.observed(self.rng.normal(0.2, 1, 50))
        codes = self.rng.integers(0, quant.high + 1, (count, *shape)).astype(np.uint8)
        values = self.build.constant(f"{name}.values", codes, quant)
        chosen = self.emit(Choice(), values, self.index(name, count), name=f"{name}.chosen")
        acc = self.emit(MultiplyInteger(), self.value, chosen, name=f"{name}.acc")
        return self.requantize(acc, f"{name}.q")

    def index(self, name: str, count: int, *, of_layer: bool = False) -> Value:
        shared = of_layer or self.choose((True, False))
        return self.emit(ChoiceIndex(count, self.stream(), shared), name=f"{name}.number")

    def stream(self) -> int:
        self.streams += 1
        return self.streams - 1

    def weight(self, name: str, shape: tuple[int, ...], sampled: bool) -> Value:
        """Also one of several constants, and each of these under a mask."""
        kind = self.choose(("usual", "usual", "chosen", "dropped")) if sampled else "usual"
        if kind == "usual":
            return super().weight(name, shape, sampled)
        constant = super().weight(f"{name}.1", shape, False)
        made = self.one_of(name, constant) if kind == "chosen" else constant
        if kind == "dropped" or self.choose((True, False, False)):
            made = self.dropped(name, made)
        return made

    def bias(self, name: str, weight: Value, sampled: bool) -> Value:
        kind = self.choose(("usual", "usual", "chosen", "dropped")) if sampled else "usual"
        if kind == "usual":
            return super().bias(name, weight, sampled)
        constant = super().bias(f"{name}.1", weight, False)
        return self.one_of(name, constant) if kind == "chosen" else self.dropped(name, constant)

    def one_of(self, name: str, constant: Value) -> Value:
        """One of some constants like this one."""
        array, quant, count = self.build.array(constant), codes_of(constant.type), 3
        assert array is not None
        more = [self.rng.permutation(array.reshape(-1)).reshape(array.shape) for _ in range(2)]
        values = self.build.constant(f"{name}.values", _stacked(array, more), _of_all(quant))
        number = self.index(name, count, of_layer=True)
        return self.emit(Choice(), values, number, name=f"{name}.chosen")

    def dropped(self, name: str, parameter: Value) -> Value:
        """A weight or bias of which a mask, shared by the rows, drops elements or channels."""
        shape = parameter.type.shape
        shape = self.choose((shape, shape, (shape[0], *[1] * (len(shape) - 1))))
        op = KeepMask(shape, self.choose((0.25, 0.5)), self.stream(), True)
        mask = self.emit(op, name=f"{name}.keep")
        return self.emit(Select(), parameter, mask, name=f"{name}.kept")


def _stacked(first: Array, more: list[Array]) -> Array:
    return np.stack([first, *more])


def _of_all(quant: QuantParams) -> QuantParams:
    """The codes of several constants under one another's scales."""
    axis = None if quant.axis is None else quant.axis + 1
    return QuantParams(quant.scale, quant.zero_point, quant.low, quant.high, axis)
