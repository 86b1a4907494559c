"""Passes over the noise of a network: one dropout mask for the batch, or no noise at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import KeepMask, Mask, SampledWeight


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


def remove_noise(graph: Graph) -> Graph:
    """A FLOAT graph without dropout, and with weights at their means: a pass draws nothing."""
    return rewrite(graph, _certain)


def _certain(node: Node, build: Builder) -> Value | None:
    return node.inputs[0] if isinstance(node.op, Mask | SampledWeight) else None
