"""Bounds of accumulators, proved from the actual weights (docs/semantics.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    ContractionInteger,
    MatMulInteger,
    MultiplyInteger,
    Rearrangement,
    SoftmaxInteger,
    SumPoolInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import INT32_HIGH, INT32_LOW
from qbnnc.ir.ops.softmax import option_places
from qbnnc.ir.parameter_ends import Ends, parameter_ends
from qbnnc.ir.ranges import CodeRanges
from qbnnc.ir.types import Array, QuantParams
from qbnnc.ir.weights import ChannelSums, Int64, channel_sums, chunks
from qbnnc.support.errors import CompileError

Known = dict[tuple[int, QuantParams], ChannelSums]

_EXACT_IN_FLOAT32 = 2**24
_SAFE_CODE = 128
_SAFE_WEIGHT_BITS = 7


@dataclass(frozen=True, slots=True)
class AccumulatorBounds:
    """Bounds of one layer's accumulators, whatever the input.

    `low` and `high` bound every channel. `largest_sum` bounds |every partial sum| in any order,
    bias included, with the zero point of x subtracted. `saturates`: an instruction that adds two
    u8*s8 products in int16 (vpmaddubsw) could saturate. Such weights must not be i8 there.
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


def check_bounds(graph: Graph, known: Known | None = None) -> None:
    """CompileError, naming the layer, if an accumulator of an INTEGER graph could leave int32.

    acc_max = q_b + sum max((lo_x - Z_x) w', (hi_x - Z_x) w', 0), and acc_min has min for max. Here
    w' = q_w - Z_w, lo_x..hi_x are the codes that the value can take, and the 0 is for padding. Only
    the final sum must fit: partial sums may wrap mod 2^32. A softmax takes differences of integers,
    which must fit too.
    """
    proof = Proof(graph, known)
    for node in graph.nodes:
        bounds = proof.of(node)
        if bounds is not None and not bounds.fits_int32:
            raise CompileError(
                f"the accumulators could reach {bounds.low}..{bounds.high}, which int32 does "
                "not hold",
                node.loc,
                remedy="use fewer bits, or split the layer",
            )
        if isinstance(node.op, SoftmaxInteger):
            low, high = proof.of_softmax(node)
            if max(-low, high, high - low) > INT32_HIGH:
                raise CompileError(
                    f"the softmax compares integers {low}..{high}, whose differences int32 does "
                    "not hold",
                    node.loc,
                    remedy="use fewer bits, or fewer features of what it is computed from",
                )


class Proof:
    """Bounds of the accumulators of an INTEGER graph; each value is looked at once.

    `known` holds the sums of weights that have been worked out, for graphs that share constants.
    """

    def __init__(self, graph: Graph, known: Known | None = None) -> None:
        self._graph, self._ranges, self._producers = graph, CodeRanges(graph), graph.producers()
        self._sums: Known = {} if known is None else known

    def of(self, node: Node) -> AccumulatorBounds | None:
        """The bounds of a node that makes accumulators; None for any other.

        TypeError for an op that makes accumulators by no rule known here.
        """
        match node.op:
            case ContractionInteger(folded=folded):
                return self._layer(node, folded=folded)
            case MultiplyInteger():
                return self._product(node, 1)
            case MatMulInteger():
                return self._product(node, node.inputs[0].type.shape[-1])
            case SumPoolInteger(kernel=kernel):
                low, high = self._ranges.centred(node.inputs[0])
                count = kernel[0] * kernel[1]
                return AccumulatorBounds(
                    count * low, count * high, count * max(-low, high), saturates=False
                )
            case op if op.makes_accumulators:
                raise TypeError(f"nothing proves how large the accumulators of {op.name} become")
        return None

    def of_softmax(self, node: Node) -> tuple[int, int]:
        """Least and greatest integer that a softmax compares, with its bias added."""
        low, high = self._integers(node.inputs[0])
        place = option_places([value.type for value in node.inputs])[1]
        if place is None:
            return low, high
        bias = self._graph.constants[node.inputs[place]]
        return low + int(bias.min()), high + int(bias.max())

    def _integers(self, value: Value) -> tuple[int, int]:
        """Least and greatest code of a value, or the bounds of accumulators, moved or not."""
        node = self._producers.get(value)
        while node is not None and isinstance(node.op, Rearrangement):
            value = node.inputs[0]
            node = self._producers.get(value)
        bounds = None if node is None else self.of(node)
        if bounds is not None:
            return min(bounds.low, 0), max(bounds.high, 0)
        quant = codes_of(value.type)
        return quant.low, quant.high

    def _product(self, node: Node, count: int) -> AccumulatorBounds:
        """Bounds of a sum of `count` products of codes."""
        (a, b), (c, d) = (self._ranges.centred(value) for value in node.inputs)
        products = [count * p * q for p in (a, b) for q in (c, d)]
        low, high = min(products), max(products)
        return AccumulatorBounds(low, high, max(-low, high), saturates=False)

    def _layer(self, node: Node, *, folded: bool) -> AccumulatorBounds:
        x, weight, bias = node.inputs
        x_quant, w_quant = codes_of(x.type), codes_of(weight.type)
        array, zero = self._graph.constants.get(weight), x_quant.per_tensor[1]
        least_b, greatest_b = self._bias_ends(bias)
        low, high = self._ranges.centred(x)
        if folded and (array is None or bias not in self._graph.constants):
            low, high = low + zero, high + zero  # nothing is known of the terms: sums of codes
        if array is None:
            least, greatest, size = self._sampled_ends(weight, low, high)
        else:
            sums = self._sums_of(array, w_quant)
            least = low * sums.positive + high * sums.negative
            greatest = high * sums.positive + low * sums.negative
            size = sums.size * max(-low, high)
            if folded and bias in self._graph.constants:
                unfolded = least_b - sums.offline_terms(zero)
                least_b = greatest_b = unfolded.astype(np.int32).astype(np.int64)  # mod 2^32
        return AccumulatorBounds(
            int((least_b + least).min()),
            int((greatest_b + greatest).max()),
            int((size + np.maximum(abs(least_b), abs(greatest_b))).max()),
            saturates=x_quant.high > _SAFE_CODE and w_quant.bits > _SAFE_WEIGHT_BITS,
        )

    def _sums_of(self, array: Array, quant: QuantParams) -> ChannelSums:
        key = id(array), quant
        if key not in self._sums:
            self._sums[key] = channel_sums(array, np.array(quant.zero_point, np.int32))
        return self._sums[key]

    def _bias_ends(self, bias: Value) -> Ends:
        """Least and greatest codes of a bias [N]."""
        if (array := self._graph.constants.get(bias)) is not None:
            codes = array.astype(np.int64)
            return codes, codes
        return parameter_ends(self._graph, self._producers, bias)((slice(None),))

    def _sampled_ends(self, weight: Value, low: int, high: int) -> tuple[Int64, Int64, Int64]:
        """Least and greatest sums of code * w' for each channel, and the largest of |code * w'|."""
        shape, ends = weight.type.shape, parameter_ends(self._graph, self._producers, weight)
        sums = np.zeros((3, shape[0]), np.int64)
        taps = prod(shape[2:])
        for rows, columns in chunks(shape[0], shape[1], taps):
            least, greatest = (w.reshape(len(w), -1) for w in ends((rows, columns)))
            worst, best = (greatest, least) if low < 0 else (least, greatest)
            sums[0, rows] += np.minimum(low * worst, high * least).sum(axis=1)
            sums[1, rows] += np.maximum(low * best, high * greatest).sum(axis=1)
            sums[2, rows] += np.maximum(-least, greatest).sum(axis=1) * max(-low, high)
        return sums[0], sums[1], sums[2]


def accumulator_bounds(graph: Graph, node: Node) -> AccumulatorBounds | None:
    """The bounds of one node of a graph, as `Proof.of` gives them."""
    return Proof(graph).of(node)
