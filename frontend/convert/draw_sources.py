"""A converted graph, and the ops of the user's program that draw its random numbers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, fx

from qbnnc.frontend.convert.member_axes import MemberAxes
from qbnnc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class DrawSource:
    """The op of the user's program that draws the numbers of one stream.

    `node` belongs to the functional program. If `low`, a plain KeepMask of the stream keeps low
    numbers (u < q, bernoulli == 0). Otherwise it keeps high ones (u >= t, bernoulli == 1), as a
    dropout does. An inverted KeepMask keeps the opposite.
    `elements` [rows or 1, lanes] tells which of the node's numbers, in row-major order, are the
    lanes of each row. There is one tensor for a batch of 3 and one for a batch of 5, or one for the
    program's own batch. None means all numbers in order (noise of weights). The numbers of the
    nodes `more` follow those of the first, each tensor behind the other.
    """

    node: fx.Node
    low: bool
    elements: tuple[Tensor, ...] | None = None
    more: tuple[fx.Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Converted:
    """A FLOAT graph, and the source of each stream's numbers; `draws` are indexed by stream.

    The nodes `signs` draw the random signs of Flipout, which the graph leaves out. Outputs with
    `members` have their axis in front of a row's own.
    """

    graph: Graph
    draws: tuple[DrawSource, ...]
    signs: frozenset[fx.Node] = frozenset()
    members: MemberAxes | None = None
