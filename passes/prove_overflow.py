"""Prove from the actual weights that no accumulator leaves int32 (docs/semantics.md, 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.arithmetic import offline_terms
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Conv2dInteger,
    LinearInteger,
    MaxPool2d,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.ops.integer import INT32_HIGH, INT32_LOW

_SAFE_CODE = 128
_SAFE_WEIGHT_BITS = 7


@dataclass(frozen=True, slots=True)
class AccumulatorBounds:
    """What one layer's accumulators can reach, whatever the input.

    `low` and `high` bound every channel. `largest_sum` bounds |every partial sum| in any order,
    bias included, with the zero point of x subtracted. `saturates`: an instruction that adds two
    u8*s8 products in int16 (vpmaddubsw) could saturate, so such weights must not be i8 there.
    """

    low: int
    high: int
    largest_sum: int
    saturates: bool

    @property
    def bits(self) -> int:
        """Bits of a signed accumulator that holds it."""
        return max(int(self.low + 1).bit_length(), self.high.bit_length()) + 1


@dataclass(frozen=True, slots=True)
class ProveOverflow:
    """The graph as it is; CompileError, naming the layer, if an accumulator could leave int32.

    acc_max = q_b + sum max((lo_x - Z_x) w', (hi_x - Z_x) w', 0), acc_min likewise with min; w' =
    q_w - Z_w, lo_x..hi_x the codes that the value can take, 0 for padding. Only the final sum must
    fit: partial sums may wrap mod 2^32.
    """

    name: str = "prove-overflow"

    def __call__(self, graph: Graph, /) -> Graph:
        for node in graph.nodes:
            bounds = accumulator_bounds(graph, node)
            if bounds is not None and not INT32_LOW <= bounds.low <= bounds.high <= INT32_HIGH:
                raise CompileError(
                    f"the accumulators could reach {bounds.low}..{bounds.high}, which int32 does "
                    "not hold: use fewer bits, or split the layer",
                    node.loc,
                )
        return graph


def accumulator_bounds(graph: Graph, node: Node) -> AccumulatorBounds | None:
    """The bounds of a node that makes accumulators; None for any other."""
    match node.op:
        case LinearInteger() | Conv2dInteger():
            return _layer_bounds(graph, node, node.op.folded)
        case SumPoolInteger(kernel=kernel):
            low, high = _centred_codes(graph, node.inputs[0])
            count = kernel[0] * kernel[1]
            return AccumulatorBounds(
                count * low, count * high, count * max(-low, high), saturates=False
            )
    return None


def code_range(graph: Graph, value: Value) -> tuple[int, int]:
    """The least and greatest code a value can have."""
    node = graph.producers().get(value)
    match None if node is None else node.op:
        case Requantize() | QuantizeInput() | AddQuantized() | ClampCodes() as op:
            return op.low, op.high
        case MaxPool2d() | Reshape() if node is not None:
            return code_range(graph, node.inputs[0])
        case Select() if node is not None and value.type.quant is not None:
            low, high = code_range(graph, node.inputs[0])
            zero = value.type.quant.per_tensor[1]
            return min(low, zero), max(high, zero)
    if value.type.quant is None:
        raise ValueError(f"{value.name} has no codes")
    return value.type.quant.low, value.type.quant.high


def _centred_codes(graph: Graph, value: Value) -> tuple[int, int]:
    """Least and greatest q - Z, with 0 (the padding) among them."""
    assert value.type.quant is not None
    low, high = code_range(graph, value)
    zero = value.type.quant.per_tensor[1]
    return min(low - zero, 0), max(high - zero, 0)


def _layer_bounds(graph: Graph, node: Node, folded: bool) -> AccumulatorBounds:
    x, weight, bias = node.inputs
    assert x.type.quant is not None
    assert weight.type.quant is not None
    codes = graph.constants[weight]
    zero = weight.type.quant.zero_point_array(codes.ndim)
    raw = graph.constants[bias].astype(np.int64)
    if folded:
        raw -= offline_terms(codes, zero, x.type.quant.per_tensor[1])
    centred = (codes.astype(np.int64) - zero).reshape(len(codes), -1)
    low, high = _centred_codes(graph, x)
    greatest = raw + np.maximum(low * centred, high * centred).sum(axis=1)
    least = raw + np.minimum(low * centred, high * centred).sum(axis=1)
    largest = np.abs(raw) + np.abs(centred).sum(axis=1) * max(-low, high)
    return AccumulatorBounds(
        int(least.min()),
        int(greatest.max()),
        int(largest.max()),
        saturates=x.type.quant.high > _SAFE_CODE and weight.type.quant.bits > _SAFE_WEIGHT_BITS,
    )
