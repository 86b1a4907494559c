"""Which op of the user's program draws the numbers of each stream of a graph."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, fx

from qbnnc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class DrawSource:
    """The op of the user's program that draws the numbers of one stream.

    `node` is one of the functional program. `low`: a plain KeepMask of the stream keeps where the
    drawn number is low (u < q, bernoulli == 0); otherwise it keeps where the number is high
    (u >= t, bernoulli == 1, what a dropout keeps). An inverted KeepMask keeps the opposite.
    `elements`: which of the node's numbers, in row-major order, are the lanes of each row, [rows or
    1, lanes]; for batches of 3 and of 5 rows, or for the program's own batch where it has one.
    None: all of them in order (noise of weights).
    """

    node: fx.Node
    low: bool
    elements: tuple[Tensor, ...] | None = None


@dataclass(frozen=True, slots=True)
class Converted:
    """A FLOAT graph, and what draws its numbers: `draws` are indexed by the stream's number.

    `signs` draw the random signs of Flipout, which the graph leaves out.
    """

    graph: Graph
    draws: tuple[DrawSource, ...]
    signs: frozenset[fx.Node] = frozenset()
