"""Passes, and sequences of passes that run whole or in part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from qbnnc.ir.check import check
from qbnnc.ir.graph import Graph
from qbnnc.support.errors import UserError

Observer: TypeAlias = Callable[[str, Graph], None]
"""Receives the name of each pass and the graph that the pass returned."""


class Pass(Protocol):
    """A function from graph to graph. A pass is a frozen dataclass; its fields are its options."""

    @property
    def name(self) -> str:
        """The name by which a user asks for the pass, or for the graph after it."""

    def __call__(self, graph: Graph, /) -> Graph:
        """Return the rewritten graph, or raise CompileError at the user's module."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Passes in the order in which they run. A part of a pipeline is a pipeline too."""

    passes: tuple[Pass, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the passes, in order."""
        return tuple(step.name for step in self.passes)

    def before(self, name: str) -> Pipeline:
        """Return the passes that run before the named one; UserError if there is none."""
        return Pipeline(self.passes[: self._place(name)])

    def since(self, name: str) -> Pipeline:
        """Return the named pass and all that follow it; UserError if there is none."""
        return Pipeline(self.passes[self._place(name) :])

    def only(self, *names: str) -> Pipeline:
        """Return the named passes alone, in the order given; UserError for an unknown name."""
        return Pipeline(tuple(self.passes[self._place(name)] for name in names))

    def __call__(self, graph: Graph, observe: Observer | None = None) -> Graph:
        """Run the passes in order, as `run_passes` does."""
        return run_passes(graph, self.passes, observe)

    def _place(self, name: str) -> int:
        if name not in self.names:
            known = f"the passes are {', '.join(self.names)}"
            raise UserError(f"there is no pass {name!r}", remedy=known)
        return self.names.index(name)


def run_passes(graph: Graph, passes: Sequence[Pass], observe: Observer | None = None) -> Graph:
    """Run `passes` in order. The graph is checked before the first and after each."""
    check(graph)
    for step in passes:
        graph = step(graph)
        check(graph)
        if observe is not None:
            observe(step.name, graph)
    return graph
