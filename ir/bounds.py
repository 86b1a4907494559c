"""What accumulators can reach, proved from the actual weights (docs/semantics.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.arithmetic import offline_terms, quantize
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Concat,
    Conv2dInteger,
    LinearInteger,
    MaxPool2d,
    Move,
    MultiplyInteger,
    QuantizeInput,
    Requantize,
    Reshape,
    SampledWeightInteger,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import INT32_HIGH, INT32_LOW
from qbnnc.ir.types import EPS_QUANT, Array

_EXACT_IN_FLOAT32 = 2**24
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
    def fits_int32(self) -> bool:
        """Whether int32 holds every accumulator."""
        return INT32_LOW <= self.low <= self.high <= INT32_HIGH

    @property
    def exact_in_float32(self) -> bool:
        """Whether every partial sum in any order is below 2^24: float32 holds all of them."""
        return self.largest_sum < _EXACT_IN_FLOAT32

    @property
    def bits(self) -> int:
        """Bits of a signed accumulator that holds it."""
        return max(int(self.low + 1).bit_length(), self.high.bit_length()) + 1


def check_bounds(graph: Graph) -> None:
    """CompileError, naming the layer, if an accumulator of an INTEGER graph could leave int32.

    acc_max = q_b + sum max((lo_x - Z_x) w', (hi_x - Z_x) w', 0), acc_min likewise with min; w' =
    q_w - Z_w, lo_x..hi_x the codes that the value can take, 0 for padding. Only the final sum must
    fit: partial sums may wrap mod 2^32.
    """
    for node in graph.nodes:
        bounds = accumulator_bounds(graph, node)
        if bounds is not None and not bounds.fits_int32:
            raise CompileError(
                f"the accumulators could reach {bounds.low}..{bounds.high}, which int32 does not "
                "hold: use fewer bits, or split the layer",
                node.loc,
            )


def accumulator_bounds(graph: Graph, node: Node) -> AccumulatorBounds | None:
    """The bounds of a node that makes accumulators; None for any other."""
    match node.op:
        case LinearInteger() | Conv2dInteger():
            return _layer_bounds(graph, node, node.op.folded)
        case MultiplyInteger():
            return _product_bounds(graph, node)
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
        case Concat() if node is not None:
            ends = [code_range(graph, v) for v in node.inputs]
            return min(low for low, _ in ends), max(high for _, high in ends)
        case Select() | Move() if node is not None and value.type.quant is not None:
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


def _product_bounds(graph: Graph, node: Node) -> AccumulatorBounds:
    (a, b), (c, d) = (_centred_codes(graph, v) for v in node.inputs)
    products = [p * q for p in (a, b) for q in (c, d)]
    low, high = min(products), max(products)
    return AccumulatorBounds(low, high, max(-low, high), saturates=False)


def _layer_bounds(graph: Graph, node: Node, folded: bool) -> AccumulatorBounds:
    x, weight, bias = node.inputs
    x_quant, w_quant = codes_of(x.type), codes_of(weight.type)
    least_w, greatest_w = _parameter_range(graph, weight)
    least_b, greatest_b = _parameter_range(graph, bias)
    zero = w_quant.zero_point_array(len(weight.type.shape))
    if folded:
        terms = offline_terms(least_w, zero, x_quant.per_tensor[1])
        least_b, greatest_b = least_b - terms, greatest_b - terms
    low, high = _centred_codes(graph, x)
    ends = [(w - zero).reshape(len(w), -1) for w in (least_w, greatest_w)]
    products = np.stack([code * end for code in (low, high) for end in ends])
    size = np.maximum(*(np.abs(end) for end in ends)).sum(axis=1) * max(-low, high)
    return AccumulatorBounds(
        int((least_b + products.min(axis=0).sum(axis=1)).min()),
        int((greatest_b + products.max(axis=0).sum(axis=1)).max()),
        int((size + np.maximum(abs(least_b), abs(greatest_b))).max()),
        saturates=x_quant.high > _SAFE_CODE and w_quant.bits > _SAFE_WEIGHT_BITS,
    )


def _parameter_range(graph: Graph, value: Value) -> tuple[Array, Array]:
    """Least and greatest codes of a weight or bias, i64: constant, or sampled with |eps| <= 127."""
    if (array := graph.constants.get(value)) is not None:
        return array.astype(np.int64), array.astype(np.int64)
    node = graph.producers()[value]
    if not isinstance(node.op, SampledWeightInteger):
        raise CompileError("the weight is neither a constant nor sampled", node.loc)
    mu, sigma, _, ratio, divisor = (graph.constants.get(v) for v in node.inputs[:5])
    if mu is None or sigma is None or ratio is None or divisor is None:
        raise CompileError("the weight is sampled from what is not constant", node.loc)
    zero = node.op.quant.zero_point_array(mu.ndim)
    span = np.abs(sigma.astype(np.int64)) * EPS_QUANT.high
    low, high = (
        quantize(
            (ratio * mu.astype(np.int64) + sign * span).astype(np.float32),
            divisor,
            zero,
            node.op.quant.low,
            node.op.quant.high,
        ).astype(np.int64)
        for sign in (-1, 1)
    )
    return low, high
