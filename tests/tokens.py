"""Small networks on ids: graphs of each kind of move before a table, trained modules and data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Builder, Graph, Value
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model
from qbnnc.ir.ops import (
    Concat,
    Conv2d,
    Embedding,
    Gather,
    KeepMask,
    Linear,
    Mask,
    Op,
    Pad,
    Reshape,
    Slice,
    Transpose,
)
from qbnnc.ir.types import PER_ROW, DType, Stage, TensorType
from qbnnc.passes.pipeline import Options, quantise_model
from qbnnc.support.errors import Loc

T = TypeVar("T")
Choose = Callable[[Sequence[T]], T]


class RandomIds:
    """Grows a FLOAT graph: ids, moved, in tables, joined, masked, and a layer."""

    def __init__(self, seed: int) -> None:
        self.rng, self.build, self.count = np.random.default_rng(seed), Builder(), 0

    def graph(self) -> Graph:
        shape = [(6,), (2, 3), (1, 2, 4), (5, 1)][self.rng.integers(4)]
        ids = self.build.input("ids", TensorType(DType.F32, shape, PER_ROW))
        parts = [self.flat(self.table(self.moved(ids))) for _ in range(self.rng.integers(1, 4))]
        joined = parts[0] if len(parts) == 1 else self.emit(Concat(0), *parts)
        keep = self.emit(KeepMask(joined.type.shape, 0.25, 0))
        x = self.emit(Mask(1 / 0.75), joined, keep)
        weight = self.rng.normal(size=(3, x.type.size)).astype(np.float32)
        bias = self.build.constant("b", self.rng.normal(size=3).astype(np.float32))
        return self.build.graph(
            (self.emit(Linear(), x, self.build.constant("w", weight), bias),), Stage.FLOAT
        )

    def emit(self, op: Op, *inputs: Value) -> Value:
        self.count += 1
        return self.build.emit(op, *inputs, loc=Loc("net"), name=f"v{self.count}")

    def moved(self, x: Value) -> Value:
        for _ in range(self.rng.integers(3)):
            shape = x.type.shape
            kinds: list[Op] = [Reshape((x.type.size,)), Slice(0, 0, shape[0], 2)]
            kinds.append(Gather(0, tuple(int(i) for i in self.rng.integers(0, shape[0], 3))))
            if len(shape) > 1:
                kinds += [Transpose(tuple(range(len(shape)))[::-1]), Pad((1, 0, 0, 2))]
            x = self.emit(kinds[self.rng.integers(len(kinds))], x)
        return x

    def table(self, ids: Value) -> Value:
        rows, width = int(self.rng.integers(1, 40)), int(self.rng.integers(1, 6))
        numbers = self.rng.normal(size=(rows, width)).astype(np.float32)
        found = self.emit(Embedding(), ids, self.build.constant(f"t{self.count}", numbers))
        if len(found.type.shape) == 3 and self.rng.integers(2):
            channels = found.type.shape[0]
            weight = self.rng.normal(size=(2, channels, 1, 1)).astype(np.float32)
            bias = self.build.constant(f"cb{self.count}", np.zeros(2, np.float32))
            return self.emit(Conv2d(), found, self.build.constant(f"cw{self.count}", weight), bias)
        return found

    def flat(self, x: Value) -> Value:
        return self.emit(Reshape((x.type.size,)), x)


def rows_of(graph: Graph, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Ids [count, *shape] below the vocabularies, which follow from the tables by hand."""
    least = min(n.inputs[1].type.shape[0] for n in graph.nodes if isinstance(n.op, Embedding))
    rng = np.random.default_rng(seed)
    return rng.integers(0, least, (count, *graph.input.type.shape)).astype(np.float32)


def integer_model(seed: int = 0, members: int = 1) -> Model:
    """A compiled random network of ids."""
    graphs = tuple(RandomIds(seed).graph() for _ in range(members))
    rows = rows_of(graphs[0], 64)
    return quantise_model(Model(graphs, Head(Task.RAW)), rows, Options(samples=4))
