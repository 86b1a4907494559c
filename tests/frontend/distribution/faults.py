"""FLOAT graphs that a faulty front end would make, written by hand, beside their modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.ops import (
    Add,
    Affine,
    Clamp,
    KeepMask,
    Linear,
    Mask,
    Normal,
    Op,
    SampledWeight,
)
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.support.errors import Loc

FEATURES = 6
WIDTH = 8


class Body(nn.Module):
    """FEATURES to WIDTH to 2, `middle` between."""

    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, WIDTH)
        self.middle = middle
        self.last = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.middle(torch.relu(self.first(x))))
        return y


@dataclass(slots=True)
class Sketch:
    """A graph being written: values by short names."""

    build: Builder
    x: Value

    def linear(self, x: Value, layer: nn.Linear, name: str, factor: float = 1.0) -> Value:
        weight, bias = (p.detach().numpy() * np.float32(factor) for p in (layer.weight, layer.bias))
        return self.emit(Linear(), x, self.array(weight), self.array(bias), name=name)

    def array(self, array: NDArray[np.float32], name: str = "constant") -> Value:
        return self.build.constant(name, np.ascontiguousarray(array, np.float32))

    def emit(self, op: Op, *inputs: Value, name: str) -> Value:
        return self.build.emit(op, *inputs, loc=Loc(name), name=name)

    def mask(
        self, shape: tuple[int, ...], p: float, stream: int = 0, shared: bool = False
    ) -> Value:
        return self.emit(KeepMask(shape, p, stream, shared), name="keep")

    def masked(self, x: Value, mask: Value, scale: float = 1.0) -> Value:
        return self.emit(Mask(scale), x, mask, name="masked")

    def affine(self, x: Value, scale: float, shift: float = 0.0) -> Value:
        constants = (self.array(np.array([value], np.float32)) for value in (scale, shift))
        return self.emit(Affine(), x, *constants, name="affine")

    def relu(self, x: Value) -> Value:
        return self.emit(Clamp(0.0, None), x, name="relu")

    def add(self, a: Value, b: Value) -> Value:
        return self.emit(Add(), a, b, name="add")

    def graph(self, *outputs: Value) -> Graph:
        return self.build.graph(outputs, Stage.FLOAT)


def sketch() -> Sketch:
    build = Builder()
    return Sketch(build, build.input("x", TensorType(DType.F32, (FEATURES,), PER_ROW)))


def around(net: Body, middle: Callable[[Sketch, Value], Value]) -> Graph:
    """Body's graph with another middle."""
    s = sketch()
    return s.graph(s.linear(middle(s, s.relu(s.linear(s.x, net.first, "first"))), net.last, "last"))


def _drawn(h: Tensor, p: float, width: int = WIDTH) -> Tensor:
    return (torch.rand(len(h), width) >= p).to(h.dtype)


def _complement(h: Tensor) -> Tensor:
    """One path or the other."""
    m = torch.bernoulli(torch.full((len(h), 1), 0.5))
    return h * m + h.neg() * (1 - m)


def _negative(h: Tensor) -> Tensor:
    return h - 0.5 * F.dropout(torch.relu(h - 0.3), 0.3, True)


def _expanded(h: Tensor) -> Tensor:
    return h * (torch.rand(len(h), 1) >= 0.3).expand_as(h)


def _of_batch(h: Tensor) -> Tensor:
    return h * (torch.rand(WIDTH) >= 0.3)


def _twice(h: Tensor) -> Tensor:
    return F.dropout(F.dropout(h, 0.3, True), 0.2, True)


def _same_twice(h: Tensor) -> Tensor:
    m = _drawn(h, 0.4)
    return h * m + torch.relu(h - 0.2) * m


# name -> (the user's middle, the middle that a fault makes of it)
MIDDLES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Sketch, Value], Value]]] = {
    "a mask and its complement as one mask": (
        _complement,
        lambda s, h: s.add(
            s.masked(h, keep := s.mask((1,), 0.5)), s.affine(s.masked(h, keep), -1.0)
        ),
    ),
    "a negative factor inside a clamp": (
        _negative,
        lambda s, h: s.add(
            h, s.masked(s.relu(s.affine(h, -0.5 / 0.7, 0.15 / 0.7)), s.mask((WIDTH,), 0.3))
        ),
    ),
    "a mask of a row drawn for each element": (
        _expanded,
        lambda s, h: s.masked(h, s.mask((WIDTH,), 0.3)),
    ),
    "a mask of the batch drawn for each row": (
        _of_batch,
        lambda s, h: s.masked(h, s.mask((WIDTH,), 0.3)),
    ),
    "a mask of each row drawn for the batch": (
        lambda h: h * _drawn(h, 0.3),
        lambda s, h: s.masked(h, s.mask((WIDTH,), 0.3, shared=True)),
    ),
    "half of the noise left off": (
        _twice,
        lambda s, h: s.masked(h, s.mask((WIDTH,), 0.3), 1 / 0.7),
    ),
    "no noise at all": (lambda h: F.dropout(h, 0.3, True), lambda s, h: h),
    "another probability": (
        lambda h: F.dropout(h, 0.3, True),
        lambda s, h: s.masked(h, s.mask((WIDTH,), 0.32), 1 / 0.7),
    ),
    "another factor": (
        lambda h: F.dropout(h, 0.3, True),
        lambda s, h: s.masked(h, s.mask((WIDTH,), 0.3), 1.0),
    ),
    "one draw used twice drawn twice": (
        _same_twice,
        lambda s, h: s.add(
            s.masked(h, s.mask((WIDTH,), 0.4)),
            s.masked(s.relu(s.affine(h, 1.0, -0.2)), s.mask((WIDTH,), 0.4, stream=1)),
        ),
    ),
}


class Sampled(nn.Module):
    """One draw of a weight, used on both halves of the input: W(a) - W(b)."""

    def __init__(self) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.randn(2, FEATURES // 2))
        self.sigma = nn.Parameter(torch.full((2, FEATURES // 2), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        w = self.mu + self.sigma * torch.randn_like(self.mu)
        half = FEATURES // 2
        return F.linear(x[:, :half], w) - F.linear(x[:, half:], w)


def sampled_graph(net: Sampled, *, sign: float) -> Graph:
    """W(a) + sign * W(b)'s noise: -1 is right, +1 what |sigma| makes of it."""
    s = sketch()
    eps = s.emit(Normal((2, FEATURES // 2), 0), name="eps")
    mu, sigma = (p.detach().numpy() for p in (net.mu, net.sigma))
    zeros = np.zeros_like(mu)
    index = np.arange(mu.size, dtype=np.int32).reshape(mu.shape)
    wide = [
        np.concatenate([mu, -mu], 1),
        np.concatenate([sigma, sign * sigma], 1),
    ]
    both = s.build.constant("index", np.concatenate([index, index], 1))
    inputs = (s.array(wide[0]), s.array(wide[1]), eps, both)
    weight = s.emit(SampledWeight(), *inputs, name="weight")
    bias = s.array(zeros[:, 0])
    return s.graph(s.emit(Linear(), s.x, weight, bias, name="linear"))
