"""The fate of a layer's accumulators: rounded at once, with the maxima that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.backends.c.geometry import Geometry
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.traits import Trait
from qbnnc.backends.c.values import Held, row_major, stored
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import Conv2dInteger
from qbnnc.ir.ops.pooling import MaxPool2d
from qbnnc.ir.ops.quantize import Dequantize, Requantize
from qbnnc.ir.types import Array


@dataclass(frozen=True, slots=True)
class End:
    """The fate of accumulators: the expression of its record, its place and its window."""

    record: str
    out: Held
    value: Value
    window: tuple[int, int] = (1, 1)


def end_of(node: Node, geometry: Geometry, scope: Scope, *, pools: bool) -> End:
    """Emit the record of what follows a layer; `pools` tells whether it may take maxima."""
    end = _end(node, geometry, scope, pools=pools)
    if isinstance(node.op, Conv2dInteger) and end.window == (1, 1):
        scope.program.traits.add(Trait.UNPOOLED)
    return end


def _end(node: Node, geometry: Geometry, scope: Scope, *, pools: bool) -> End:
    acc = node.output
    reader = scope.only_reader(acc)
    if reader is not None and isinstance(reader.op, Requantize):
        factors = scope.graph.constants[reader.inputs[1]].reshape(-1)
        if len(factors) in (1, geometry.output[0]):
            return _codes(reader, reader.op, factors, geometry, scope, pools=pools)
    if reader is not None and isinstance(reader.op, Dequantize):
        scope.done.add(reader)
        out = scope.make_real(reader.output)
        strides = _position_strides(row_major(acc.type.shape), geometry)
        scales = np.asarray(codes_of(acc.type).scale, np.float32)
        record = _end_record(scope, scales, "QB_REALS", (0, 0, 0), strides)
        return End(record, out, reader.output)
    out = scope.make(acc)
    scope.program.traits.add(Trait.SUMS)
    strides = _position_strides(stored(acc.type.shape), geometry)
    nothing = np.ones(1, np.float32)
    return End(_end_record(scope, nothing, "QB_SUMS", (0, 0, 0), strides), out, acc)


def _codes(
    node: Node, op: Requantize, factors: Array, geometry: Geometry, scope: Scope, *, pools: bool
) -> End:
    scope.done.add(node)
    value, window = node.output, (1, 1)
    reader = scope.only_reader(value)
    if pools and reader is not None and isinstance(reader.op, MaxPool2d):
        pool = reader.op
        shape = (geometry.output[1] // pool.kernel[0], geometry.output[2] // pool.kernel[1])
        apart = pool.kernel == pool.stride and not any(pool.padding) and pool.dilation == (1, 1)
        if apart and reader.output.type.shape[1:] == shape:
            # A maximum commutes with a rounding, which is monotone: round one number a window.
            scope.done.add(reader)
            value, window = reader.output, pool.kernel
    strides = _position_strides(stored(value.type.shape), geometry)
    ends = op.quant.per_tensor[1], op.low, op.high
    record = _end_record(scope, factors, "QB_CODES", ends, strides)
    return End(record, scope.make(value), value, window)


def _end_record(
    scope: Scope, factors: Array, kind: str, ends: tuple[int, int, int], strides: tuple[int, int]
) -> str:
    name = scope.program.constants.array(factors, "float")
    return scope.program.record("qb_end", [name, int(len(factors) > 1), kind, *ends, *strides])


def _position_strides(strides: tuple[int, ...], geometry: Geometry) -> tuple[int, int]:
    """Strides of a position and of a channel."""
    if len(strides) == 1:
        return geometry.output[0], strides[0]
    return strides[2], strides[0]
