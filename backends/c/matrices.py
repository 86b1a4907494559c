"""Products of two computed matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.scope import Scope
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.matmul import MOST_LEADING, MatMulInteger
from qbnnc.ir.types import TensorType


def multiply(node: Node, op: MatMulInteger, scope: Scope) -> None:
    """Sum the products of the lines of one value and the lines or columns of another."""
    (a, b), y = node.inputs, node.output
    *outer, height, depth = a.type.shape
    held = [scope.held(value) for value in (a, b)]
    out = scope.make(y)
    if any(each.image for each in held):
        raise ValueError("a vector in the order of an image")
    strides = [_three(v.type, h.strides) for v, h in zip((a, b, y), (*held, out), strict=True)]
    if not op.transposed:
        count, line, column = strides[1]
        strides[1] = count, column, line
    zeros = [codes_of(value.type).per_tensor[1] for value in (a, b)]
    sizes = (prod(outer), height, y.type.shape[-1], depth, *zeros)
    arrays = ["{" + ", ".join(map(str, each)) + "}" for each in strides]
    scope.program.parts.add(Part.MATRICES)
    record = scope.program.record("qb_matrices", [*sizes, *arrays])
    scope.step(scope.phase(y), "qb_multiply_matrices", record, *held, out)


def _three(type: TensorType, strides: Sequence[int]) -> tuple[int, int, int]:
    """Strides of the matrices, their lines and columns; leading axes become one."""
    *outer, line, column = strides
    sizes = type.shape[: len(outer)]
    if not outer:
        return 0, line, column
    if len(outer) == MOST_LEADING and sizes[0] > 1 and outer[0] != outer[1] * sizes[1]:
        raise ValueError("matrices behind two axes that are no one axis in memory")
    return outer[-1], line, column
