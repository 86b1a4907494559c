"""Accumulators: terms of the zero points computed offline, and the proof that int32 holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qbnnc.ir.bounds import check_bounds
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import Conv2dInteger, LinearInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.weights import channel_sums

_MOST_CODE = 127


@dataclass(frozen=True, slots=True)
class FoldZeroPoints:
    """1. offset_n = q_b,n + K Z_w Z_x - Z_x sum_k q_w replaces the bias of a layer whose weight and
       bias are constants. The run time is left with sum_k q_x q_w and, if Z_w is not 0,
       -Z_w sum_k q_x.
    2. Sums are taken mod 2^32: the final accumulator fits int32, which ProveOverflow shows.
    3. A constant weight whose q_w - Z_w are within -127..127 takes these as its codes, with zero
       points of 0: nothing of Z_w is left then, and every form of the layer is open to it. Codes of
       7 bits or less always are.

    The oracle is the same bit for bit.
    """

    name: str = "fold-zero-points"

    def __call__(self, graph: Graph, /) -> Graph:
        return rewrite(graph, _fold)


def _fold(node: Node, build: Builder) -> Value | None:
    if not isinstance(node.op, LinearInteger | Conv2dInteger) or node.op.folded:
        return None
    x, weight, bias = node.inputs
    weight, raw, op = _centred(weight, build), build.array(bias), node.op
    codes = build.array(weight)
    if codes is not None and raw is not None:
        sums = channel_sums(codes, np.array(codes_of(weight.type).zero_point, np.int32))
        offset = raw + sums.offline_terms(codes_of(x.type).per_tensor[1])
        bias, op = build.constant(bias.name, offset.astype(np.int32)), replace(op, folded=True)
    elif weight is node.inputs[1]:
        return None
    return build.emit(op, x, weight, bias, loc=node.loc, name=node.output.name)


def _centred(weight: Value, build: Builder) -> Value:
    """The weight with codes q_w - Z_w by rule 3, or as it is where that is declined."""
    codes, quant = build.array(weight), codes_of(weight.type)
    low, high = quant.low - max(quant.zero_point), quant.high - min(quant.zero_point)
    if codes is None or not any(quant.zero_point) or max(-low, high) > _MOST_CODE:
        return weight
    zeros = (0,) * len(quant.zero_point)
    centred = codes - quant.zero_point_array(codes.ndim)
    moved = replace(quant, zero_point=zeros, low=low, high=high)
    return build.constant(weight.name, centred.astype(np.int8), moved)


@dataclass(frozen=True, slots=True)
class ProveOverflow:
    """The graph as it is; CompileError, naming the layer, if an accumulator could leave int32
    (`qbnnc.ir.bounds`: the same proof is repeated whenever an artefact is read).
    """

    name: str = "prove-overflow"

    def __call__(self, graph: Graph, /) -> Graph:
        check_bounds(graph)
        return graph
