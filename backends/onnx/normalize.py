"""Normalisation of groups of codes as ONNX nodes: exact sums, and a root in float64."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.requantize import quantize_float
from qbnnc.backends.onnx.scope import Scope, Write, quant_scalars
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import NormalizeInteger, Op
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.normalize import group_size, largest_code
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()

_TO_INT32, _TO_INT64 = int(onnx_ir.DataType.INT32), int(onnx_ir.DataType.INT64)
_TO_FLOAT, _TO_DOUBLE = int(onnx_ir.DataType.FLOAT), int(onnx_ir.DataType.DOUBLE)
_MOST_IN_INT32 = 2**31 - 1


@WRITERS.of(NormalizeInteger)
def normalize(scope: Scope, node: Node, op: NormalizeInteger) -> None:
    """f32(f32(F*k - s1) * r) * g + b, rounded by a QuantizeLinear of scale 1.

    The nodes are no pattern that onnxruntime fuses to its own layer norm, whose sums are float32.
    """
    (x, weight, bias), writer, name = node.inputs, scope.writer, scope.name(node.output)
    count = group_size(x.type.shape, op.axes)
    over = writer.ints(*range(-op.axes, 0))
    wide = writer.op(
        "Cast", scope.operand(x, node.output.type.axes), out=f"{name}/wide", to=_TO_INT32
    )
    zero = quant_scalars(x.type)[1].astype(np.int32)
    k = wide if zero == 0 else writer.op("Sub", wide, writer.constant(zero), out=f"{name}/k")
    moved = writer.op("Mul", k, writer.constant(np.array(count, np.int32)), out=f"{name}/scaled")
    squares = _sum_of_squares(writer, k, over, count * largest_code(codes_of(x.type)) ** 2, name)
    factor = writer.constant(np.array(count, np.int64))
    spread = writer.op("Mul", squares, factor, out=f"{name}/spread")
    if op.centred:
        total = writer.op("ReduceSum", k, over, out=f"{name}/sum", keepdims=1)
        moved = writer.op("Sub", moved, total, out=f"{name}/centred")
        long = writer.op("Cast", total, out=f"{name}/sum/long", to=_TO_INT64)
        square = writer.op("Mul", long, long, out=f"{name}/sum/square")
        spread = writer.op("Sub", spread, square, out=f"{name}/spread/centred")
    inverse = _inverse(writer, spread, op, name)
    real = writer.op("Cast", moved, out=f"{name}/float", to=_TO_FLOAT)
    y = writer.op("Mul", real, inverse, out=f"{name}/normalised")
    y = writer.op("Mul", y, writer.constant(scope.constant(weight, node)), out=f"{name}/weighted")
    y = writer.op("Add", y, writer.constant(scope.constant(bias, node)), out=f"{name}/shifted")
    quantize_float(scope, node, y, scope.result(node.output), scale=1)


def _sum_of_squares(
    writer: Writer, k: onnx_ir.Value, over: onnx_ir.Value, most: int, name: str
) -> onnx_ir.Value:
    """The sum of k*k as int64; it is added in int32 where `most` fits there."""
    square = writer.op("Mul", k, k, out=f"{name}/square")
    if most > _MOST_IN_INT32:
        square = writer.op("Cast", square, out=f"{name}/square/long", to=_TO_INT64)
    total = writer.op("ReduceSum", square, over, out=f"{name}/squares", keepdims=1)
    if most > _MOST_IN_INT32:
        return total
    return writer.op("Cast", total, out=f"{name}/squares/long", to=_TO_INT64)


def _inverse(
    writer: Writer, spread: onnx_ir.Value, op: NormalizeInteger, name: str
) -> onnx_ir.Value:
    """f32(1 / max(sqrt(spread + eps) + outer_eps, floor)); adding 0 is left out."""

    def number(value: float) -> onnx_ir.Value:
        return writer.constant(np.array(value, np.float64))

    made = writer.op("Cast", spread, out=f"{name}/double", to=_TO_DOUBLE)
    if op.eps:
        made = writer.op("Add", made, number(op.eps), out=f"{name}/variance")
    made = writer.op("Sqrt", made, out=f"{name}/root")
    if op.outer_eps:
        made = writer.op("Add", made, number(op.outer_eps), out=f"{name}/root/eps")
    made = writer.op("Max", made, number(op.floor), out=f"{name}/divisor")
    made = writer.op("Div", number(1.0), made, out=f"{name}/inverse/double")
    return writer.op("Cast", made, out=f"{name}/inverse", to=_TO_FLOAT)
