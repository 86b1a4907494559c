"""Softmax over the last axis of codes or accumulators."""

from __future__ import annotations

import numpy as np

from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import real
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.values import in_order, stored
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.softmax import SoftmaxInteger, option_places
from qbnnc.ir.types import Array

_NONE = ("NULL", 0, 0, 0)


def emit(node: Node, op: SoftmaxInteger, scope: Scope) -> None:
    """One step: rows along the last axis, each through a scratch row of int32."""
    scope.program.parts.add(Part.SOFTMAX)
    x, table = node.inputs[:2]
    shape, source, out = node.output.type.shape, scope.held(x), scope.make(node.output)
    height, width = (shape[1], shape[0]) if len(shape) == 3 else (x.type.size // shape[-1], 1)
    places = option_places([value.type for value in node.inputs])
    constants = scope.graph.constants
    options = list[object]()
    for place, ctype in zip(places, ("uint8_t", "int32_t"), strict=True):
        array = None if place is None else constants[node.inputs[place]]
        options += _NONE if array is None else _option(array, shape, ctype, scope)
    fields = [
        scope.program.constants.array(constants[table], "int32_t"),
        len(constants[table]),
        real(op.multiplier),
        real(op.inverse_scale),
        *options,
        height,
        width,
        shape[-1],
        op.quant.per_tensor[1],
        op.low,
        op.high,
    ]
    record = scope.program.record("qb_softmax", fields)
    wide = int(source.ctype == "int32_t")
    row = scope.scratch("int32_t", shape[-1])
    scope.step(scope.phase(node.output), "qb_softmax_rows", record, source, wide, row, out)


def _option(
    array: Array, shape: tuple[int, ...], ctype: str, scope: Scope
) -> tuple[str, int, int, int]:
    """A mask or bias: its name, and its steps along the rows' height, width and length."""
    if len(shape) == 3:
        name = scope.program.constants.array(in_order(array), ctype)
        channel, y, place = (
            step if n > 1 else 0 for n, step in zip(array.shape, stored(array.shape), strict=True)
        )
        return name, y, channel, place
    rows = np.broadcast_to(array, shape).reshape(-1, shape[-1])
    same = bool((rows == rows[:1]).all())
    name = scope.program.constants.array(rows[:1] if same else rows, ctype)
    return name, 0 if same else shape[-1], 0, 1
