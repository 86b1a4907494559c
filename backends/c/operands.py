"""The constant operands of a layer: weights, their zero points, and the terms of equation (2)."""

from __future__ import annotations

import numpy as np

from qbnnc.backends.c import sampled
from qbnnc.backends.c.ends import End
from qbnnc.backends.c.geometry import Geometry, conv_record
from qbnnc.backends.c.program import Buffer
from qbnnc.backends.c.scope import Scope
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
    node: Node, geometry: Geometry, end: End, ordered: Array, weight: Array, scope: Scope
) -> str:
    """Add a `qb_conv` with a weight in the order that the layer's function takes."""
    constants = scope.program.constants
    zeros = weight_zeros(node, len(weight))
    wz = constants.array(zeros, "int32_t") if zeros.any() else "NULL"
    x_zero = codes_of(node.inputs[0].type).per_tensor[1]
    arrays = constants.array(ordered, "int8_t"), wz
    return conv_record(scope.program, geometry, arrays, x_zero, end.window)


def weight_zeros(node: Node, outputs: int) -> Array:
    """The zero points of a weight: [O]."""
    zeros = np.asarray(codes_of(node.inputs[1].type).zero_point, np.int32)
    return np.broadcast_to(zeros, (outputs,))


def offset_of(node: Node, weight: Array, scope: Scope) -> Buffer | str:
    """The bias with the constant terms of equation (2): [O]."""
    assert isinstance(node.op, Conv2dInteger | LinearInteger)
    codes = weight.reshape(len(weight), -1).astype(np.int64)
    codes -= weight_zeros(node, len(weight)).astype(np.int64)[:, None]
    zero = codes_of(node.inputs[0].type).per_tensor[1]
    terms = np.zeros(len(weight), np.int64) if node.op.folded else -zero * codes.sum(axis=1)
    bias = scope.graph.constants.get(node.inputs[2])
    if bias is not None:
        return scope.program.pointer(wrapped(bias + terms), "int32_t")
    always = scope.program.members > 1  # members have the same steps
    plus = scope.program.pointer(wrapped(terms), "int32_t") if always or terms.any() else "NULL"
    return sampled.bias(node.inputs[2], plus, scope)


def wrapped(numbers: Array) -> Array:
    """The same numbers mod 2^32, as int32."""
    return (numbers.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
