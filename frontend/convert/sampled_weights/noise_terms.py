"""Terms that noise of a layer's weights adds to its result, as layers that read the same input.

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
from typing import Protocol

import torch
from torch import Tensor

from qbnnc.frontend.convert.sampled_weights.correlated_noise import (
    Kronecker,
    LowRank,
    NoiseMap,
    recognised,
)
from qbnnc.frontend.convert.sampled_weights.weights import Sampling, Weight
from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2d, Linear, Op, Reshape
from qbnnc.support.errors import CompileError

_MEAN, _DEVIATION = 0.1, 0.2  # of a usual input, as parts of its range
_RANGE = 2.0  # a usual input's range, beside which a bias counts


class Emitter(Protocol):
    """Emits ops, and layers with one noise each."""

    def emit(self, place: Place, op: Op, x: Value, weight: Weight, bias: Weight) -> Value: ...

    def step(self, place: Place, op: Op, *inputs: Value) -> Value: ...


class Term(Protocol):
    """The sum that one noise tensor adds to each output of a layer."""

    def spread(self) -> Tensor:
        """About the standard deviation of each output, in ranges of the input: [N], f64."""
        ...

    def value(self, divisor: Tensor) -> Value:
        """Emit the term, each output divided by `divisor` [N]."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """The layer that a term belongs to; `shape` is that of its weight."""

    emitter: Emitter
    place: Place
    op: Op
    x: Value
    shape: torch.Size

    def constant(self, what: str, matrix: Tensor) -> Value:
        """The layer with the constant weights and biases of a matrix [N, M + 1]."""
        weight = Weight(matrix[:, :-1].reshape(-1, *self.shape[1:]))
        bias = Weight(matrix[:, -1])
        return self.emitter.emit(self.place.step(what), self.op, self.x, weight, bias)

    def convolved(self, what: str, x: Value, matrix: Weight, groups: int = 1) -> Value:
        """A linear layer over the channels of x [K] or [K, height, width]; matrix [N, K/groups]."""
        bias, place, shape = zeros(matrix), self.place.step(what), x.type.shape
        if len(shape) == 1 and groups == 1:
            return self.emitter.emit(place, Linear(), x, matrix, bias)
        if len(shape) == 1:
            x = self.emitter.step(place.step("image"), Reshape((*shape, 1, 1)), x)
        kernels = matrix.moved(lambda m: m[:, :, None, None])
        y = self.emitter.emit(place, Conv2d(groups=groups), x, kernels, bias)
        if len(shape) > 1:
            return y
        return self.emitter.step(place.step("features"), Reshape(y.type.shape[:1]), y)


@dataclass(frozen=True, slots=True, eq=False)
class _LowRankTerm:
    layer: _Layer
    found: LowRank

    def spread(self) -> Tensor:
        parts = self.found.sigma * _response(self.found.slopes)
        return (parts**2).sum(1).sqrt()

    def value(self, divisor: Tensor) -> Value:
        rows, rank = self.found.sigma.shape
        even, response = _evened(self.found.slopes)
        slopes = self.layer.constant("slopes", even.reshape(rows * rank, -1))
        sigma = self.found.sigma * response / divisor[:, None]
        noise = _centred(Sampling((self.found.source,), sigma, self.found.index))
        return self.layer.convolved("noise", slopes, noise, rows)


@dataclass(frozen=True, slots=True, eq=False)
class _KroneckerTerm:
    layer: _Layer
    found: Kronecker

    def spread(self) -> Tensor:
        rows = self.found.sigma**2 @ _response(self.found.right) ** 2
        return (self.found.left**2 @ rows).sqrt()

    def value(self, divisor: Tensor) -> Value:
        left, right, sigma = self.found.left, self.found.right, self.found.sigma
        ends, begins = _is_unit(left), _is_unit(right[:, :-1]) and not bool(right[:, -1].any())
        if not begins:
            right, response = _evened(right)
            sigma = sigma * response
        if ends:
            sigma = sigma / divisor[:, None]
        noise = _centred(Sampling((self.found.source,), sigma, self.found.index))
        if begins:
            layer = self.layer
            kernels = noise.moved(lambda w: w.reshape(-1, *layer.shape[1:]))
            place = layer.place.step("noise")
            y = layer.emitter.emit(place, layer.op, layer.x, kernels, zeros(kernels))
        else:
            y = self.layer.convolved("noise", self.layer.constant("right", right), noise)
        return y if ends else self.layer.convolved("left", y, Weight(left / divisor[:, None]))


@dataclass(frozen=True, slots=True, eq=False)
class Independent:
    """A layer of mean 0, whose noise is drawn by another Normal than the layer's own."""

    emitter: Emitter
    place: Place
    op: Op
    x: Value
    weight: Weight
    bias: Weight

    def spread(self) -> Tensor:
        squares = [torch.zeros(len(self.bias.mu), dtype=torch.float64)]
        for each, factor in ((self.weight, _MEAN**2 + _DEVIATION**2), (self.bias, _RANGE**-2)):
            if each.sampling is not None:
                sigma = each.sampling.sigma.double().reshape(len(squares[0]), -1)
                squares.append(factor * (sigma**2).sum(1))
        return torch.stack(squares).sum(0).sqrt()

    def value(self, divisor: Tensor) -> Value:
        weight, bias = (_divided(each, divisor) for each in (self.weight, self.bias))
        return self.emitter.emit(self.place.step("more"), self.op, self.x, weight, bias)


def correlated_terms(
    emitter: Emitter, place: Place, op: Op, x: Value, shape: torch.Size, noise: NoiseMap
) -> Iterator[Term]:
    """Yield what this noise adds to op(x), if it adds anything; `shape` is that of the weight."""
    layer = _Layer(emitter, place, op, x, shape)
    try:
        found = recognised(noise, products=not isinstance(op, Conv2d) or op.groups == 1)
    except ValueError as error:
        raise CompileError(
            "its weight has correlated noise that is no Kronecker product, and more than low rank "
            f"has ({error})",
            place.loc,
            remedy="draw fewer numbers (a lower rank), independent noise, or one matrix of noise "
            "between two constant ones",
        ) from error
    match found:
        case LowRank():
            yield _LowRankTerm(layer, found)
        case Kronecker():
            yield _KroneckerTerm(layer, found)


def zeros(weight: Weight) -> Weight:
    """A bias of zeros for a weight."""
    return Weight(torch.zeros(weight.shape[0]))


def _centred(sampling: Sampling) -> Weight:
    return Weight(torch.zeros_like(sampling.sigma), sampling)


def _divided(weight: Weight, divisor: Tensor) -> Weight:
    """A weight of mean 0 whose rows are divided."""
    if weight.sampling is None:
        return weight
    rows = divisor.reshape(-1, *[1] * (weight.mu.ndim - 1))
    return _centred(
        Sampling(weight.sampling.sources, weight.sampling.sigma / rows, weight.sampling.index)
    )


def _response(rows: Tensor) -> Tensor:
    """About the root mean square of rows [..., M + 1] times a usual input, in its ranges."""
    weights, bias = rows[..., :-1].double(), rows[..., -1].double()
    mean, squares = _MEAN * weights.sum(-1), (weights**2).sum(-1)
    return (mean**2 + _DEVIATION**2 * squares + (bias / _RANGE) ** 2).sqrt()


def _evened(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [..., M + 1] divided by their response, as all share one scale; and the response."""
    response = _response(rows)
    response = torch.where(response == 0, 1.0, response)
    return rows / response[..., None], response


def _is_unit(matrix: Tensor) -> bool:
    unit = torch.eye(len(matrix), dtype=matrix.dtype)
    return matrix.shape == unit.shape and bool(((matrix - unit).abs() < 1e-12).all())
