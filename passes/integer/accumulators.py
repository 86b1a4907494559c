"""Accumulators: terms of the zero points computed offline, and the proof that int32 holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.bounds import check_bounds
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Conv2dInteger, LinearInteger
from qbnnc.ir.weights import channel_sums


@dataclass(frozen=True, slots=True)
class FoldZeroPoints:
    """1. offset_n = q_b,n + K Z_w Z_x - Z_x sum_k q_w replaces the bias of a layer whose weight and
       bias are constants. The run time is left with sum_k q_x q_w and, if Z_w is not 0,
       -Z_w sum_k q_x.
    2. Sums are taken mod 2^32: the final accumulator fits int32, which ProveOverflow shows.

    The oracle is the same bit for bit.
    """

    name: str = "fold-zero-points"

    def __call__(self, graph: Graph, /) -> Graph:
        return rewrite(graph, _fold)


def _fold(node: Node, build: Builder) -> Value | None:
    if not isinstance(node.op, LinearInteger | Conv2dInteger) or node.op.folded:
        return None
    x, weight, bias = node.inputs
    codes, raw = build.array(weight), build.array(bias)
    if codes is None or raw is None or x.type.quant is None or weight.type.quant is None:
        return None
    sums = channel_sums(codes, np.array(weight.type.quant.zero_point, np.int32))
    offset = raw + sums.offline_terms(x.type.quant.per_tensor[1])
    constant = build.constant(bias.name, offset.astype(np.int32))
    op = replace(node.op, folded=True)
    return build.emit(op, x, weight, constant, loc=node.loc, name=node.output.name)


@dataclass(frozen=True, slots=True)
class ProveOverflow:
    """The graph as it is; CompileError, naming the layer, if an accumulator could leave int32
    (`qbnnc.ir.bounds`: the same proof is repeated whenever an artefact is read).
    """

    name: str = "prove-overflow"

    def __call__(self, graph: Graph, /) -> Graph:
        check_bounds(graph)
        return graph
