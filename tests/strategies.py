"""Random INTEGER models for property tests: every op, every corner of sections 1 to 5.

`integer_models()` is the hypothesis strategy; `random_integer_model(seed)` is the same generator
for loops over thousands of models. Weights, biases and scales come from a calibration that runs
along. So requantised codes fill their range, and rounding errors show. A model whose codes are
all saturated would make a test that cannot fail. `input_batch` gives data in the range.

    integer_models(classification=True)   one output of logits
    integer_models(dropout=False)         deterministic models
    integer_models(members=2)             ensembles: one structure, scales of their own

Graphs are chains and residual branches, which may leave from the deterministic prefix. Layers have
strides, padding, dilation and groups, and pools may have more padding than their kernel. Masks are
of elements and channels, shared or not. Biases are folded or plain. Weights have 2..8 bits, a scale
for a channel or the tensor, symmetric or affine. Activations have 2..8 bits. Zero points are 0 and
others, clamps are those of a ReLU and others. Accumulators may have two readers, and multipliers
may fit no fused kernel. One or two outputs are codes or accumulators.

    integer_models(ops="all")             tables, products, concatenation, moves, sampled weights
    integer_models(ops="all", sampled=False)                 the same without sampled weights
    integer_models(ops="all", dropout=False, sampled=True)   only weights are random
    integer_models(ops="products")        all ops and draws, and products of two matrices
    integer_models(ops="parts")           all ops, and two or three inputs in a row

By default (ops="basic") a seed gives the model it has always given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from qbnnc.ir.graph import Graph
from qbnnc.ir.head import Head, Task
from qbnnc.ir.model import Model, Provenance
from qbnnc.ir.ops import RandomOp
from tests.random_draws import RandomGraphOfAllDraws
from tests.random_graph import Choose, RandomGraph
from tests.random_ops import RandomGraphOfAllOps
from tests.random_parts import RandomGraphOfParts
from tests.random_products import RandomGraphOfProducts

T = TypeVar("T")
Ops: TypeAlias = Literal["basic", "all", "draws", "products", "parts"]


def input_batch(model: Model, rows: int, seed: int = 0) -> NDArray[np.float32]:
    """[rows, *shape], a little wider than the input's codes, with exact ties among them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1.3, (rows, *model.graph.input.type.shape))
    ties = rng.random(x.shape) < 0.1
    return np.where(ties, np.rint(x * 8) / 8, x).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Contents:
    """The ops that a model may hold."""

    classification: bool
    dropout: bool
    members: int
    ops: Ops
    sampled: bool

    def graph(self, choose: Choose, seed: int) -> Graph:
        """One member."""
        if self.ops == "basic":
            return RandomGraph(choose, seed, self.dropout).finish(self.classification)
        every = _KINDS[self.ops](choose, seed, self.dropout, self.sampled)
        return every.finish(self.classification)


_KINDS: dict[str, type[RandomGraphOfAllOps]] = {
    "all": RandomGraphOfAllOps,
    "draws": RandomGraphOfAllDraws,
    "products": RandomGraphOfProducts,
    "parts": RandomGraphOfParts,
}


@st.composite
def integer_models(
    draw: st.DrawFn,
    *,
    classification: bool = False,
    dropout: bool = True,
    members: int = 1,
    ops: Ops = "basic",
    sampled: bool | None = None,
) -> Model:
    """A checked INTEGER Model; see the module. `sampled` is as `dropout` by default."""

    def choose(options: Sequence[T]) -> T:
        return draw(st.sampled_from(options))

    seed = draw(st.integers(0, 2**16))
    noisy = dropout if sampled is None else sampled
    return _model(choose, seed, Contents(classification, dropout, members, ops, noisy))


def random_integer_model(
    seed: int,
    *,
    classification: bool = False,
    dropout: bool = True,
    members: int = 1,
    ops: Ops = "basic",
    sampled: bool | None = None,
) -> Model:
    """The same model for the same seed."""
    rng = np.random.default_rng(seed)

    def choose(options: Sequence[T]) -> T:
        return options[int(rng.integers(len(options)))]

    noisy = dropout if sampled is None else sampled
    return _model(choose, seed, Contents(classification, dropout, members, ops, noisy))


def _model(choose: Choose, seed: int, contents: Contents) -> Model:
    taken: list[object] = []
    graphs = [contents.graph(_recorded(choose, taken), seed)]
    for number in range(1, contents.members):
        graphs.append(contents.graph(_replayed(taken), seed + number))
    task = Task.RAW
    if contents.classification:
        task = Task.CLASSIFICATION
    elif len(graphs[0].outputs) == 1:
        task = choose((Task.RAW, Task.REGRESSION))
    random = any(isinstance(n.op, RandomOp) for n in graphs[0].nodes)
    provenance = Provenance("qbnnc test", "mixed", "mixed", f"seed {seed}")
    model = Model(tuple(graphs), Head(task), choose((1, 2, 3)) if random else 1, provenance)
    model.check()
    return model


def _recorded(choose: Choose, taken: list[object]) -> Choose:
    def recorded(options: Sequence[T]) -> T:
        taken.append(chosen := choose(options))
        return chosen

    return recorded


def _replayed(taken: list[object]) -> Choose:
    rest = iter(taken)

    def replayed(options: Sequence[T]) -> T:
        chosen = next(rest)
        return next(o for o in options if o == chosen)

    return replayed
