"""Layers, emitted: one op, or several if noise of the weights is correlated.

The mean and the first independent noise are the layer itself. What other noise adds to a weight
takes layers of its own (`noise_terms`), whose results are added. A linear layer reads them beside
x, with weights as large as its largest, so that all is added in one accumulator. No sum is rounded
to few bits that way. To convolutions they are added afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

import torch
from torch import Tensor

from qbnnc.frontend.convert.sampled_weights.correlated_noise import NoiseMap
from qbnnc.frontend.convert.sampled_weights.noise_terms import (
    Independent,
    Term,
    correlated_terms,
    zeros,
)
from qbnnc.frontend.convert.sampled_weights.weights import (
    Correlated,
    Sampling,
    Weight,
    WeightEmitter,
)
from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.ops import Add, Concat, Linear, Op
from qbnnc.support.errors import CompileError

_REACH = 3.5 / 0.3  # 3.5 standard deviations of a term reach over .3 of the range of x
_MOST_TIMES = 32
_MOST_WIDER = 8


@dataclass(frozen=True, slots=True, eq=False)
class LayerEmitter:
    """Emits layers with any weights."""

    build: Builder
    weights: WeightEmitter

    def layer(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight | None) -> Value:
        """op(x, weight, bias), a Linear or Conv2d; `bias` None is zeros.

        CompileError if correlated noise is too large.
        """
        bias = zeros(weight) if bias is None else bias
        if any(each.choice or each.mask for each in (weight, bias)):
            return self._whole(place, op, x, weight, bias)
        first, *more = self._independent(weight, bias)
        if not more and not weight.more and not bias.more:
            return self.emit(place, op, x, *first)
        terms = [term for each in self._terms(place, op, x, weight, bias) for term in each]
        terms += [Independent(self, place, op, x, *each) for each in more]
        if op == Linear():
            return self._beside(place, x, first, terms)
        return self._added(place, op, x, first, terms)

    def _whole(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight) -> Value:
        """A layer whose weight or bias is chosen, or under a mask, and has one noise at most."""
        parts = [list(self._noise(each)) for each in (weight, bias)]
        if weight.more or bias.more or any(len(part) > 1 for part in parts):
            raise CompileError(
                "its weight or bias is chosen from constants, or under a mask, and has noise of "
                "several sources",
                place.loc,
                remedy="draw all noise as one tensor, or write two layers and add them",
            )
        return self.emit(place, op, x, weight, bias)

    def _independent(self, weight: Weight, bias: Weight) -> list[tuple[Weight, Weight]]:
        """The parameters with one noise each, drawn by one Normal: the first has the mean."""
        own, others = self._noise(weight), self._noise(bias)
        return [
            (Weight(_mean(weight, number), one), Weight(_mean(bias, number), other))
            for number, (one, other) in enumerate(zip_longest(own, others))
        ] or [(Weight(weight.mu), Weight(bias.mu))]

    def _noise(self, weight: Weight) -> Iterator[Sampling]:
        for each in (weight.sampling, *weight.more):
            if isinstance(each, Sampling):
                yield from self.weights.divided(each)

    def _terms(
        self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight
    ) -> Iterator[Iterator[Term]]:
        for noise in _maps(weight, bias):
            yield correlated_terms(self, place, op, x, weight.shape, noise)

    def _beside(
        self, place: Place, x: Value, first: tuple[Weight, Weight], terms: list[Term]
    ) -> Value:
        """A linear layer that reads the terms beside x: rows of the weight, then w * unit matrix.

        A term is read m times, and divided by w * m, where w [N] is the largest weight of each row.
        m follows from the inputs K, as the members of an ensemble have one. It brings terms of a
        third of the layer's own spread to a third of the range of x. For larger ones w grows.
        """
        weight, bias = first
        count = max(1, min(_MOST_TIMES, round(weight.shape[1] ** 0.5 / 2)))
        read, columns = [x], weight
        for term in terms:
            reach = (term.spread() * _REACH / count).clamp_max(_MOST_WIDER * _largest(weight))
            largest = torch.maximum(_largest(weight), reach)
            read += [term.value(largest * count)] * count
            columns = columns.beside(torch.diag(largest).repeat(1, count))
        joined = self.step(place.step("joined"), Concat(0), *read)
        return self.emit(place, Linear(), joined, columns, bias)

    def _added(
        self, place: Place, op: Op, x: Value, first: tuple[Weight, Weight], terms: list[Term]
    ) -> Value:
        total = self.emit(place.step("mean"), op, x, *first)
        for term in terms:
            last = term is terms[-1]
            value = term.value(torch.ones(len(first[0].mu), dtype=torch.float64))
            total = self.step(place if last else place.step("sum"), Add(), total, value)
        return total

    def emit(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight) -> Value:
        """op(x, weight, bias) with one noise each."""
        parameters = self.weights.parameters(place, weight, bias)
        return self.build.emit(op, x, *parameters, loc=place.loc, name=place.name)

    def step(self, place: Place, op: Op, *inputs: Value) -> Value:
        return self.build.emit(op, *inputs, loc=place.loc, name=place.name)


def _mean(weight: Weight, number: int) -> Tensor:
    """The mean for the first layer, and zeros for others."""
    return torch.zeros_like(weight.mu) if number else weight.mu


def _largest(weight: Weight) -> Tensor:
    """The greatest magnitude of each row of a weight, 3 sigma included, [N] f64; none is 0."""
    size = weight.mu.double().abs()
    if weight.sampling is not None:
        size = size + 3 * weight.sampling.sigma.double().abs()
    rows = size.reshape(len(size), -1).amax(1)
    top = float(rows.max())
    return rows.clamp_min(top / 100 if top else 1.0)


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
