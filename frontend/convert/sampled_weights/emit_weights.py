"""Emits weights: constants, or mu + sigma * eps with one Normal for each noise tensor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.sampled_weights.weight import Weight
from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Builder, Value
from qbnnc.ir.ops import Normal, SampledWeight


class Weights:
    """Emits the weights of a graph; `stream` numbers the stream of each node that draws."""

    def __init__(self, build: Builder, stream: Callable[[fx.Node], int]) -> None:
        self._build = build
        self._stream = stream
        self._normals: dict[fx.Node, Value] = {}

    def constant(self, name: str, tensor: Tensor) -> Value:
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
