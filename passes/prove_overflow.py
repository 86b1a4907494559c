"""Prove from the actual weights that no accumulator leaves int32 (docs/semantics.md, 3)."""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.ir.bounds import check_bounds
from qbnnc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class ProveOverflow:
    """The graph as it is; CompileError, naming the layer, if an accumulator could leave int32
    (`qbnnc.ir.bounds`: the same proof is repeated whenever an artefact is read).
    """

    name: str = "prove-overflow"

    def __call__(self, graph: Graph, /) -> Graph:
        check_bounds(graph)
        return graph
