"""The codes that a weight or bias can have, whatever is drawn (docs/semantics.md, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from qbnnc.ir.arithmetic import quantize
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import Choice, SampledWeightInteger, Select
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import EPS_QUANT, Array, QuantParams
from qbnnc.ir.weights import Int64
from qbnnc.support.errors import CompileError, Loc

Ends: TypeAlias = tuple[Int64, Int64]  # least and greatest, for each channel or element
Part: TypeAlias = tuple[slice, ...]  # of the first axes
EndsOf: TypeAlias = Callable[[Part], Ends]


def parameter_ends(graph: Graph, producers: Mapping[Value, Node], value: Value) -> EndsOf:
    """A function that gives the least and greatest q - Z of a part of a weight or bias [N, ...].

    The parameter is a constant, one of several constants, a sample, or one of these under a mask.
    CompileError for any other.
    """
    node, masked = producers.get(value), False
    while node is not None and isinstance(node.op, Select):
        value, masked = node.inputs[0], True
        node = producers.get(value)
    whole = _whole_ends(graph, node, value)
    return _masked(whole) if masked else whole


def _whole_ends(graph: Graph, node: Node | None, value: Value) -> EndsOf:
    """The ends of a parameter that `node` makes, which is no mask."""
    if (array := graph.constants.get(value)) is not None:
        return _fixed(array[None], codes_of(value.type))
    match None if node is None else node.op:
        case Choice() if node is not None:
            values = _constant(graph, node.inputs[0], node)
            return _fixed(values, codes_of(value.type))
        case SampledWeightInteger(quant=quant) if node is not None:
            mu, sigma, ratio, divisor = (
                _constant(graph, node.inputs[place], node) for place in (0, 1, 3, 4)
            )
            return _sampled(quant, mu, sigma, ratio, divisor)
    raise CompileError(
        "the weight is neither a constant, chosen from constants nor sampled",
        Loc(value.name) if node is None else node.loc,
    )


def _constant(graph: Graph, value: Value, node: Node) -> Array:
    if (array := graph.constants.get(value)) is None:
        raise CompileError("the weight is made of what is not constant", node.loc)
    return array


def _fixed(values: Array, quant: QuantParams) -> EndsOf:
    """The ends of several constants [M, N, ...]."""

    def ends(part: Part) -> Ends:
        zero = _of_part(quant.zero_point_array(values.ndim - 1), part)
        codes = values[:, *part].astype(np.int64) - zero
        return codes.min(axis=0), codes.max(axis=0)

    return ends


def _masked(whole: EndsOf) -> EndsOf:
    """The ends of what a mask keeps, or takes to 0."""

    def ends(part: Part) -> Ends:
        least, greatest = whole(part)
        return np.minimum(least, 0), np.maximum(greatest, 0)

    return ends


def _sampled(quant: QuantParams, mu: Array, sigma: Array, ratio: Array, divisor: Array) -> EndsOf:
    """The ends of a sampled weight, whose noise is |eps| <= 127."""

    def ends(part: Part) -> Ends:
        mean, deviation, factor, by = (_of_part(a, part) for a in (mu, sigma, ratio, divisor))
        zero = _of_part(quant.zero_point_array(mu.ndim), part)
        middle = factor.astype(np.int64) * mean
        span = np.abs(deviation.astype(np.int64)) * EPS_QUANT.high
        least, greatest = (
            quantize(end.astype(np.float32), by, zero, quant.low, quant.high).astype(np.int64)
            - zero
            for end in (middle - span, middle + span)
        )
        return least, greatest

    return ends


def _of_part(array: Array, part: Part) -> Array:
    """The part of an array that may have 1 in place of an axis."""
    taken: Array = array[
        tuple(s if n > 1 else slice(None) for s, n in zip(part, array.shape, strict=False))
    ]
    return taken
