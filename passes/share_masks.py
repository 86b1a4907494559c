"""One dropout mask for the whole batch, if the user wants it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import KeepMask


@dataclass(frozen=True, slots=True)
class ShareMasks:
    """With `batch` every mask becomes that of row 0, so that a prediction does not depend on its
    place in the batch (mask_sharing "batch"). Otherwise the graph is as it was: rows have masks of
    their own, as in PyTorch.
    """

    batch: bool
    name: str = "share-masks"

    def __call__(self, graph: Graph, /) -> Graph:
        return rewrite(graph, _share) if self.batch else graph


def _share(node: Node, build: Builder) -> Value | None:
    if not isinstance(node.op, KeepMask):
        return None
    return build.emit(replace(node.op, shared=True), loc=node.loc, name=node.output.name)
