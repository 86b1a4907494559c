"""Layers, emitted: one op, or several if noise of the weights is correlated.

The mean and the first independent noise are the layer itself. What other noise adds to a weight is
a layer of its own, whose result is added:

1. Noise of low rank, sum_r z_r D_r: the layer with the constant slopes as N * r outputs, and then a
   1x1 convolution of N groups, whose weights are the noise. So z is drawn once for all rows, and
   every layer that takes it takes the same.
2. A Kronecker product, A (S * E) B: the layer with the constant weights B, a layer with the noise,
   and one with the constant weights A. A and B are left out where they are the unit matrix.
3. Independent noise of elements that have noise already: the layer with the mean 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from qbnnc.frontend.convert.sampled_weights.correlated_noise import (
    Kronecker,
    LowRank,
    NoiseMap,
    recognised,
)
from qbnnc.frontend.convert.sampled_weights.weights import (
    Correlated,
    Sampling,
    Weight,
    WeightEmitter,
)
from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.ops import Add, Conv2d, Linear, Op, Reshape
from qbnnc.support.errors import CompileError


@dataclass(frozen=True, slots=True, eq=False)
class LayerEmitter:
    """Emits layers with any weights."""

    build: Builder
    weights: WeightEmitter

    def layer(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight | None) -> Value:
        """op(x, weight, bias), a Linear or Conv2d; `bias` None is zeros.

        CompileError if correlated noise is too large.
        """
        bias = _zeros(weight) if bias is None else bias
        if weight.choice is not None or bias.choice is not None:
            return self._of_a_choice(place, op, x, weight, bias)
        first, *more = self._independent(weight, bias)
        if not more and not weight.more and not bias.more:
            return self._emit(place, op, x, *first)
        return _Sum(self, place, op, x).of(first, more, _maps(weight, bias))

    def _of_a_choice(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight) -> Value:
        """A layer whose weight or bias is one of several constants, and the other has no noise."""
        if weight.sources or bias.sources:
            raise CompileError(
                "one of its weight and bias is chosen from constants, and the other has noise",
                place.loc,
                remedy="draw both in one way, or write two layers and add them",
            )
        return self._emit(place, op, x, weight, bias)

    def _independent(self, weight: Weight, bias: Weight) -> list[tuple[Weight, Weight]]:
        """The parameters with one noise each, drawn by one Normal: the first has the mean."""
        own, others = list(self._noise(weight)), list(self._noise(bias))
        layers = [(Weight(weight.mu, *own[:1]), Weight(bias.mu, *others[:1]))]
        for i in range(1, max(len(own), len(others))):
            none = Weight(torch.zeros_like(weight.mu)), Weight(torch.zeros_like(bias.mu))
            layers.append(
                (Weight(none[0].mu, *own[i : i + 1]), Weight(none[1].mu, *others[i : i + 1]))
            )
        return layers

    def _noise(self, weight: Weight) -> Iterator[Sampling]:
        for each in (weight.sampling, *weight.more):
            if isinstance(each, Sampling):
                yield from self.weights.divided(each)

    def _emit(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight) -> Value:
        parameters = self.weights.parameters(place, weight, bias)
        return self.build.emit(op, x, *parameters, loc=place.loc, name=place.name)

    def step(self, place: Place, op: Op, *inputs: Value) -> Value:
        return self.build.emit(op, *inputs, loc=place.loc, name=place.name)

    def reshaped(self, place: Place, x: Value, shape: tuple[int, ...]) -> Value:
        return x if x.type.shape == shape else self.step(place, Reshape(shape), x)

    def convolved(self, place: Place, x: Value, matrix: Weight, groups: int = 1) -> Value:
        """A linear layer over the channels of x, [K] or [K, height, width]; matrix [N, K/groups]."""
        bias = _zeros(matrix)
        if len(x.type.shape) == 1 and groups == 1:
            return self._emit(place, Linear(), x, matrix, bias)
        image = self.reshaped(place.step("image"), x, (*x.type.shape, 1, 1)[:3])
        kernels = matrix.moved(lambda m: m[:, :, None, None])
        y = self._emit(place, Conv2d(groups=groups), image, kernels, bias)
        return self.reshaped(place.step("features"), y, y.type.shape[: len(x.type.shape)])


def _maps(weight: Weight, bias: Weight) -> Iterator[NoiseMap]:
    """Yield the map of each noise tensor to weight and bias as one matrix [N, M + 1]."""
    own = {each.source: each.part for each in weight.more if isinstance(each, Correlated)}
    others = {each.source: each.part for each in bias.more if isinstance(each, Correlated)}
    rows = weight.shape[0]
    for source in dict.fromkeys([*own, *others]):
        shape = source.meta["val"].shape

        def at(eps: Tensor, source: torch.fx.Node = source, shape: torch.Size = shape) -> Tensor:
            z = eps.reshape(shape)
            w = own[source](z) if source in own else torch.zeros(weight.shape)
            b = others[source](z) if source in others else torch.zeros(bias.shape)
            return torch.cat([w.double().reshape(rows, -1), b.double().reshape(rows, 1)], 1)

        yield NoiseMap(source, at)


@dataclass(frozen=True, slots=True, eq=False)
class _Sum:
    """One layer as the sum of layers that read x."""

    emitter: LayerEmitter
    place: Place
    op: Op
    x: Value

    def of(
        self,
        first: tuple[Weight, Weight],
        more: list[tuple[Weight, Weight]],
        maps: Iterator[NoiseMap],
    ) -> Value:
        layer = self.emitter._emit
        terms = [layer(self.place.step("mean"), self.op, self.x, *first)]
        terms += [layer(self.place.step("more"), self.op, self.x, *each) for each in more]
        for noise in maps:
            terms += self.correlated(noise, first[0].shape)
        total, *rest = terms
        for term in rest:
            last = term is rest[-1]
            place = self.place if last else self.place.step("sum")
            total = self.emitter.step(place, Add(), total, term)
        return total

    def correlated(self, noise: NoiseMap, shape: torch.Size) -> Iterator[Value]:
        """Yield what this noise adds, if it adds anything; `shape` is that of the weight."""
        try:
            found = recognised(noise, products=_groups(self.op) == 1)
        except ValueError as error:
            raise CompileError(
                f"its weight has correlated noise of another kind than low rank or a Kronecker "
                f"product, or too much of it ({error})",
                self.place.loc,
                remedy="draw independent noise, fewer numbers, or one matrix between two factors",
            ) from error
        match found:
            case LowRank():
                yield self.low_rank(found, shape)
            case Kronecker():
                yield self.kronecker(found, shape)

    def low_rank(self, found: LowRank, shape: torch.Size) -> Value:
        rows, rank = found.sigma.shape
        slopes = self.constant_layer("slopes", found.slopes.reshape(rows * rank, -1), shape)
        noise = Weight(
            torch.zeros_like(found.sigma), Sampling((found.source,), found.sigma, found.index)
        )
        return self.emitter.convolved(self.place.step("noise"), slopes, noise, rows)

    def kronecker(self, found: Kronecker, shape: torch.Size) -> Value:
        mean, place = torch.zeros_like(found.sigma), self.place.step("noise")
        noise = Weight(mean, Sampling((found.source,), found.sigma, found.index))
        if _is_unit(found.right[:, :-1]) and not bool(found.right[:, -1].any()):
            kernels = noise.moved(lambda w: w.reshape(-1, *shape[1:]))
            y = self.emitter._emit(place, self.op, self.x, kernels, _zeros(kernels))
        else:
            right = self.constant_layer("right", found.right, shape)
            y = self.emitter.convolved(place, right, noise)
        if _is_unit(found.left):
            return y
        return self.emitter.convolved(self.place.step("left"), y, Weight(found.left))

    def constant_layer(self, what: str, matrix: Tensor, shape: torch.Size) -> Value:
        """The layer with the constant weights and biases of a matrix [N, M + 1]."""
        weight = Weight(matrix[:, :-1].reshape(-1, *shape[1:]))
        bias = Weight(matrix[:, -1])
        return self.emitter._emit(self.place.step(what), self.op, self.x, weight, bias)


def _zeros(weight: Weight) -> Weight:
    return Weight(torch.zeros(weight.shape[0]))


def _groups(op: Op) -> int:
    return op.groups if isinstance(op, Conv2d) else 1


def _is_unit(matrix: Tensor) -> bool:
    unit = torch.eye(len(matrix), dtype=matrix.dtype)
    return matrix.shape == unit.shape and bool(((matrix - unit).abs() < 1e-12).all())
