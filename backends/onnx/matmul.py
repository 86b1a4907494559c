"""Products of two computed matrices as ONNX nodes."""

from __future__ import annotations

import onnx_ir

from qbnnc.backends.onnx.scope import Scope, Write, quant_scalars
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import MatMulInteger, Op
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()


@WRITERS.of(MatMulInteger)
def mat_mul(scope: Scope, node: Node, op: MatMulInteger) -> None:
    """MatMulInteger of u8 codes and zero points, which no kernel saturates."""
    writer, name, axes = scope.writer, scope.name(node.output), node.output.type.axes
    (a, b), apart = scope.aligned(node.inputs, axes)
    if op.transposed:
        b = _turned(scope, node.inputs[1], b, apart=apart)
    zeros = [writer.constant(quant_scalars(value.type)[1]) for value in node.inputs]
    out = scope.result(node.output)
    made = writer.op("MatMulInteger", a, b, *zeros, out=f"{name}/products" if apart else out)
    if apart:
        scope.layout.merge(made, node.output.type.shape, out)


def _turned(scope: Scope, value: Value, stored: onnx_ir.Value, *, apart: bool) -> onnx_ir.Value:
    """The last two axes exchanged, behind those that stand before the shape."""
    axes = value.type.axes
    leading = (2 if apart else 1) if axes else 0
    rank = leading + len(value.type.shape)
    order = [*range(rank - 2), rank - 1, rank - 2]
    return scope.writer.op("Transpose", stored, out=f"{scope.name(value)}/turned", perm=order)
