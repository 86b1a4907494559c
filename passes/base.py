"""What a pass is, and how passes are run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph

Observer: TypeAlias = Callable[[str, Graph], None]


class Pass(Protocol):
    """A graph to a graph. A pass is a frozen dataclass; its fields are its options."""

    @property
    def name(self) -> str:
        """The name under which a user asks for the graph after the pass."""

    def __call__(self, graph: Graph, /) -> Graph:
        """The rewritten graph; CompileError, at the user's module, if it cannot be."""


def run_passes(graph: Graph, passes: Sequence[Pass], observe: Observer | None = None) -> Graph:
    """Run `passes` in order. The graph is checked before the first and after each."""
    check(graph)
    for step in passes:
        graph = step(graph)
        check(graph)
        if observe is not None:
            observe(step.name, graph)
    return graph
