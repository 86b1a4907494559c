"""Softmax over the last axis of integers, as ONNX nodes whose every step is exact."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.requantize import clamp
from qbnnc.backends.onnx.scope import Scope, Write
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Op, SoftmaxInteger
from qbnnc.ir.ops.softmax import option_places
from qbnnc.ir.types import DType
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()

_TO_INT32, _TO_FLOAT = int(onnx_ir.DataType.INT32), int(onnx_ir.DataType.FLOAT)


@WRITERS.of(SoftmaxInteger)
def softmax(scope: Scope, node: Node, op: SoftmaxInteger) -> None:
    """Distances from the greatest, a table of them, and a product with one quotient a row."""
    writer, name = scope.writer, scope.name(node.output)
    _, bias = option_places([value.type for value in node.inputs])
    x = scope.operand(node.inputs[0], node.output.type.axes)
    if node.inputs[0].type.dtype is DType.U8:
        x = writer.op("Cast", x, out=f"{name}/wide", to=_TO_INT32)
    if bias is not None:
        x = writer.op("Add", x, scope.stored(node.inputs[bias]), out=f"{name}/biased")
    e = _exponentials(scope, node, op, x)
    total = writer.op("ReduceSum", e, writer.ints(-1), out=f"{name}/total", keepdims=1)
    one = writer.constant(np.array(1, np.int32))
    total = writer.op("Max", total, one, out=f"{name}/divisor")
    divisor = writer.op("Cast", total, out=f"{name}/divisor/float", to=_TO_FLOAT)
    inverse = writer.constant(np.array(op.inverse_scale, np.float32))
    factor = writer.op("Div", inverse, divisor, out=f"{name}/factor")
    real = writer.op("Cast", e, out=f"{name}/float", to=_TO_FLOAT)
    scaled = writer.op("Mul", real, factor, out=f"{name}/scaled")
    step = writer.constant(np.array(1, np.float32))
    zero = writer.constant(np.array(op.quant.per_tensor[1], np.uint8))
    codes = writer.op("QuantizeLinear", scaled, step, zero, out=f"{name}/unclamped")
    clamp(writer, codes, op.low, op.high, scope.result(node.output))


def _exponentials(scope: Scope, node: Node, op: SoftmaxInteger, x: onnx_ir.Value) -> onnx_ir.Value:
    """e_i, i32: 0 where an element is masked."""
    writer, name = scope.writer, scope.name(node.output)
    mask, _ = option_places([value.type for value in node.inputs])
    taking_part, keep = x, None
    if mask is not None:
        keep = scope.constant(node.inputs[mask], node)
        least = writer.constant(np.array(-(2**31), np.int32))
        chosen = writer.constant(keep.astype(np.bool_))
        taking_part = writer.op("Where", chosen, x, least, out=f"{name}/part")
    most = writer.op("ReduceMax", taking_part, writer.ints(-1), out=f"{name}/greatest", keepdims=1)
    distance = writer.op("Sub", most, x, out=f"{name}/distance")
    real = writer.op("Cast", distance, out=f"{name}/distance/float", to=_TO_FLOAT)
    if op.multiplier != 1:
        factor = writer.constant(np.array(op.multiplier, np.float32))
        real = writer.op("Mul", real, factor, out=f"{name}/steps")
    last = np.array(node.inputs[1].type.shape[0] - 1, np.float32)
    ends = (writer.constant(end) for end in (np.array(0, np.float32), last))
    cut = writer.op("Clip", real, *ends, out=f"{name}/steps/cut")
    index = writer.op("Round", cut, out=f"{name}/steps/whole") if op.multiplier != 1 else cut
    flat = writer.op("Reshape", index, writer.ints(-1), out=f"{name}/flat")
    places = writer.op("Cast", flat, out=f"{name}/index", to=_TO_INT32)
    table = scope.stored(node.inputs[1])
    found = writer.op("GatherElements", table, places, out=f"{name}/found", axis=0)
    e = scope.layout.merge(found, node.output.type.shape, f"{name}/exponentials")
    if keep is None:
        return e
    factor = writer.constant(keep.astype(np.int32))
    return writer.op("Mul", e, factor, out=f"{name}/exponentials/kept")
