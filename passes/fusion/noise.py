"""Passes over the noise of a network: the same draws for the batch, or no noise at all."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Choice, ChoiceIndex, KeepMask, Mask, Noise, SampledWeight


@dataclass(frozen=True, slots=True)
class ShareMasks:
    """With `batch` every mask becomes that of row 0, so that a prediction does not depend on its
    place in the batch (mask_sharing "batch"). So do noise and the index of a choice. Otherwise the
    graph is as it was: rows have masks of their own, as in PyTorch.
    """

    batch: bool
    name: str = "share-masks"

    def __call__(self, graph: Graph, /) -> Graph:
        return rewrite(graph, _share) if self.batch else graph


def _share(node: Node, build: Builder) -> Value | None:
    if not isinstance(node.op, KeepMask | Noise | ChoiceIndex):
        return None
    return build.emit(replace(node.op, shared=True), loc=node.loc, name=node.output.name)


def remove_noise(graph: Graph) -> Graph:
    """A FLOAT graph without dropout, and with weights at their means: a pass draws nothing.

    Noise is its mean, and a choice the mean of its members.
    """
    return rewrite(graph, _certain)


def _certain(node: Node, build: Builder) -> Value | None:
    match node.op:
        case Mask() | SampledWeight():
            return node.inputs[0]
        case Choice():
            values = build.array(node.inputs[0])
            assert values is not None  # a choice is between constants
            return build.constant(node.output.name, values.mean(axis=0, dtype=np.float32))
        case Noise(distribution=distribution, shape=shape):
            mean = np.full(shape, distribution.table.mean(dtype=np.float64), np.float32)
            return build.constant(node.output.name, mean)
    return None
