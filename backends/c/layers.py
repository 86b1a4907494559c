"""Linear layers and convolutions: equation (2), rounded at once, with what follows in one step."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.backends.c import dropped, sampled
from qbnnc.backends.c.ends import End, end_of
from qbnnc.backends.c.geometry import Geometry
from qbnnc.backends.c.masked import emit_masked
from qbnnc.backends.c.operands import by_fours, filled_up, offset_of, record_of, weight_zeros
from qbnnc.backends.c.parameters import Parameter, parameter
from qbnnc.backends.c.program import Buffer
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.values import in_order
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.dropout import Select
from qbnnc.ir.ops.integer import LinearInteger
from qbnnc.ir.ops.pooling import MaxPool2d
from qbnnc.ir.ops.quantize import Requantize
from qbnnc.ir.ops.shape import Reshape

_FEW = 8  # outputs, for which columns do not pay


def emit(node: Node, scope: Scope) -> None:
    """Emit a layer, with the rounding and the maxima that follow it."""
    weight = parameter(node.inputs[1], scope)
    geometry = Geometry.of(node)
    by_filters = weight is None or weight.select is not None
    end = end_of(node, geometry, scope, pools=by_filters or not geometry.depthwise)
    if weight is None:
        sampled.emit(node, geometry, end, scope)
        return
    if weight.select is not None:
        dropped.emit(node, geometry, end, weight, weight.select, scope)
        return
    select = scope.masked_input(node)
    if select is not None:
        emit_masked(node, geometry, end, select, weight, scope)
        return
    if isinstance(node.op, LinearInteger):
        _emit_linear(node, geometry, end, weight, scope)
        return
    phase, x = scope.phase(end.value), scope.held(node.inputs[0])
    offset = offset_of(node, weight, scope)
    if geometry.depthwise:
        taps = weight.codes.reshape(*weight.codes.shape[:2], -1).swapaxes(1, 2)
        record = record_of(node, geometry, end, taps, weight, scope)
        acc = scope.scratch("int32_t", geometry.output[0])
        scope.step(phase, "qb_depthwise", record, offset, end.record, x, acc, end.out)
    else:
        ordered = filled_up(weight.codes.transpose(0, 1, 3, 4, 2), geometry.taps)
        record = record_of(node, geometry, end, ordered, weight, scope)
        pair = by_fours(geometry.taps) + by_fours(geometry.gathered) // 4
        copy = scope.scratch("int32_t", pair)
        acc = scope.scratch("int32_t", (3 if prod(end.window) > 1 else 2) * geometry.outputs)
        scope.step(phase, "qb_convolve", record, offset, end.record, x, copy, acc, end.out)


def _emit_linear(node: Node, geometry: Geometry, end: End, weight: Parameter, scope: Scope) -> None:
    phase, x = scope.phase(end.value), scope.held(node.inputs[0])
    offset = offset_of(node, weight, scope)
    outputs, codes = weight.outputs, weight.codes
    if x.image is not None:
        order = in_order(np.arange(codes.shape[2]).reshape(x.image)).reshape(-1)
        codes = codes[:, :, order]
    if outputs < _FEW or weight_zeros(node, outputs).any() or not _sparse(node, scope):
        record = record_of(node, geometry, end, codes, weight, scope)
        scope.step(phase, "qb_linear", record, offset, end.record, x, end.out)
        return
    record = record_of(node, geometry, end, codes.swapaxes(1, 2), weight, scope)
    acc = Buffer("int32_t", outputs)
    scope.step(phase, "qb_linear_sums", record, offset, x, acc)
    scope.step(phase, "qb_finish", end.record, acc, outputs, 0, 0, end.out)


def _sparse(node: Node, scope: Scope) -> bool:
    """Whether many inputs are zero, as they are behind a ReLU."""
    x = node.inputs[0]
    if codes_of(x.type).per_tensor[1] != 0:
        return False
    producer = scope.producers.get(x)
    while producer is not None and isinstance(producer.op, Select | MaxPool2d | Reshape):
        producer = scope.producers.get(producer.inputs[0])
    return producer is not None and isinstance(producer.op, Requantize)
