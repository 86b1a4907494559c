"""The constant operands of a layer: weights, their zero points, and the terms of equation (2)."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.backends.c import sampled
from qbnnc.backends.c.ends import End
from qbnnc.backends.c.geometry import Geometry, conv_record
from qbnnc.backends.c.parameters import Parameter, parameter
from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import Buffer
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.values import Held
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger
from qbnnc.ir.types import Array


def by_fours(count: int) -> int:
    """Round a count up to fours."""
    return -(-count // 4) * 4


def filled_up(ordered: Array, taps: int) -> Array:
    """Weights with zeros at the end, where a step of four may read beyond the last filter."""
    return np.pad(ordered.reshape(-1), (0, -taps % 4))


def record_of(
    node: Node, geometry: Geometry, end: End, ordered: Array, weight: Parameter, scope: Scope
) -> Held:
    """Add a `qb_conv` with a weight in the order that the layer's function takes.

    `ordered` holds all constants that the weight may be, one after the other. The call takes the
    record with that of the sample.
    """
    constants = scope.program.constants
    zeros = weight_zeros(node, weight.outputs)
    wz = constants.array(zeros, "int32_t") if zeros.any() else "NULL"
    x_zero = codes_of(node.inputs[0].type).per_tensor[1]
    arrays = constants.array(ordered, "int8_t"), wz
    record = conv_record(scope.program, geometry, arrays, x_zero, end.window)
    if weight.index is None:
        return Held(record, (), "qb_conv")
    scope.program.parts.add(Part.CHOICE)
    number, size = scope.held(weight.index), prod(weight.shape)
    text = f"qb_with_weight({record}, {size}, {number.text}, &with)"
    return Held(text, (), "qb_conv", number.buffer, local="qb_conv with;")


def weight_zeros(node: Node, outputs: int) -> Array:
    """The zero points of a weight: [O]."""
    zeros = np.asarray(codes_of(node.inputs[1].type).zero_point, np.int32)
    return np.broadcast_to(zeros, (outputs,))


def offset_of(node: Node, weight: Parameter, scope: Scope) -> Held | Buffer | str:
    """The bias with the constant terms of equation (2): [O], for the weight of the sample."""
    assert isinstance(node.op, Conv2dInteger | LinearInteger)
    terms, value = _terms(node, weight, folded=node.op.folded), node.inputs[2]
    bias = parameter(value, scope)
    alike = bias is not None and (None in (bias.index, weight.index) or bias.index is weight.index)
    if bias is not None and bias.select is None and alike:
        index = bias.index if weight.index is None else weight.index
        return scope.chosen(wrapped(bias.codes + terms), index, "int32_t")
    always = scope.program.members > 1  # members have the same steps
    plus = None
    if always or terms.any():
        plus = scope.chosen(wrapped(terms), weight.index, "int32_t")
    if bias is None:
        return sampled.bias(value, "NULL" if plus is None else plus, scope)
    plain = scope.held(value)
    if plus is None:
        return plain
    scope.program.parts.add(Part.BIASES)
    out = Buffer("int32_t", weight.outputs)
    phase = scope.phase(node.output)
    scope.step(phase, "qb_add_terms", plain, plus, weight.outputs, out)
    return out


def _terms(node: Node, weight: Parameter, *, folded: bool) -> Array:
    """The constant terms of equation (2) for each constant that the weight may be: i64 [M, O]."""
    rows = weight.codes.reshape(len(weight.codes), weight.outputs, -1)
    if folded:
        return np.zeros(rows.shape[:2], np.int64)
    zeros = weight_zeros(node, weight.outputs).astype(np.int64)
    centred = rows.sum(axis=2, dtype=np.int64) - rows.shape[2] * zeros
    terms: Array = -codes_of(node.inputs[0].type).per_tensor[1] * centred
    return terms


def wrapped(numbers: Array) -> Array:
    """The same numbers mod 2^32, as int32."""
    return (numbers.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
