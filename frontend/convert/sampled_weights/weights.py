"""Weights and biases of layers: fixed, or sampled as mu + sigma * eps (Bayes by Backprop).

`Weight` is the form that the rules use. `WeightEmitter` emits it as a value of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.ops import Normal, SampledWeight


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """The random part of a weight: element i is sigma[i] * eps[index[i]], eps ~ N(0, 1).

    `source` draws eps. `sigma` (any sign) and `index` (i64, the noise counted in row-major order)
    have the weight's shape.
    """

    source: fx.Node
    sigma: Tensor
    index: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A tensor of parameters: `mu` alone, or with `sampling` the mean of a random tensor."""

    mu: Tensor
    sampling: Sampling | None = None

    @property
    def shape(self) -> torch.Size:
        return self.mu.shape

    def moved(self, move: Callable[[Tensor], Tensor]) -> Weight:
        """The weight with its elements moved; `move` transposes, flips or reshapes."""
        if self.sampling is None:
            return Weight(move(self.mu))
        sigma, index = move(self.sampling.sigma), move(self.sampling.index)
        return Weight(move(self.mu), Sampling(self.sampling.source, sigma, index))

    def scaled(self, factor: float) -> Weight:
        if self.sampling is None or factor == 1:
            return self if factor == 1 else Weight(self.mu * factor)
        sampling = self.sampling
        scaled = Sampling(sampling.source, sampling.sigma * factor, sampling.index)
        return Weight(self.mu * factor, scaled)

    def row_major(self, count: int) -> bool:
        """Whether each element i with a sigma takes noise i, of `count` in all."""
        if self.sampling is None or count != self.mu.numel():
            return False
        own = torch.arange(count).reshape(self.shape)
        return bool(((self.sampling.index == own) | (self.sampling.sigma == 0)).all())


class WeightEmitter:
    """Emits weights as constants, or with one Normal for each noise tensor.

    `stream` gives the number of the stream for a node that draws.
    """

    def __init__(self, build: Builder, stream: Callable[[fx.Node], int]) -> None:
        self._build = build
        self._stream = stream
        self._normals: dict[fx.Node, Value] = {}

    def constant(self, name: str, tensor: Tensor) -> Value:
        """The tensor as a float32 constant of the graph."""
        array = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
        return self._build.constant(name, np.array(array, np.float32))

    def parameters(self, place: Place, weight: Weight, bias: Weight | None) -> tuple[Value, Value]:
        """The weight and the bias [N] of a layer; zeros if it has no bias."""
        bias = Weight(torch.zeros(weight.shape[0])) if bias is None else bias
        return self._value(place, "weight", weight), self._value(place, "bias", bias)

    def _value(self, place: Place, what: str, weight: Weight) -> Value:
        name, sampling = f"{place.name}.{what}", weight.sampling
        if sampling is None:
            return self.constant(name, weight.mu)
        eps = self._normal(sampling.source, name, place)
        inputs = [
            self.constant(f"{name}.mu", weight.mu),
            self.constant(f"{name}.sigma", sampling.sigma),
        ]
        inputs.append(eps)
        if not weight.row_major(eps.type.size):
            index = sampling.index.contiguous().numpy().astype(np.int32)
            inputs.append(self._build.constant(f"{name}.index", index))
        return self._build.emit(SampledWeight(), *inputs, loc=place.loc, name=name)

    def _normal(self, source: fx.Node, name: str, place: Place) -> Value:
        if source not in self._normals:
            op = Normal(tuple(source.meta["val"].shape), self._stream(source))
            self._normals[source] = self._build.emit(op, loc=place.loc, name=f"{name}.eps")
        return self._normals[source]
