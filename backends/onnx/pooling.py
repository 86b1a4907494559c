"""Pooling of codes: maxima, and the sums that averages are made of."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope, Write, quant_scalars
from qbnnc.backends.onnx.writer import Attribute
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import MaxPool2d, MaxUnpool, Op, SumPoolInteger
from qbnnc.ir.ops.pooling import PoolingGeometry
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()

_TO_INT32, _TO_UINT8 = int(onnx_ir.DataType.INT32), int(onnx_ir.DataType.UINT8)
_TO_FLOAT = int(onnx_ir.DataType.FLOAT)


@WRITERS.of(MaxPool2d)
def max_pool(scope: Scope, node: Node, op: MaxPool2d) -> None:
    """The maximum of u8 codes, computed in float32 where every window holds a code.

    This is exact, because float32 holds every code; onnxruntime's u8 MaxPool is 8 to 12 times
    slower. A window of padding alone must give 0, the least code, and not minus infinity. There it
    is the u8 MaxPool after a Pad with 0, as MaxPool takes no padding as large as the kernel.
    """
    writer, name = scope.writer, scope.name(node.output)
    x, attributes = scope.operand(node.inputs[0], node.output.type.axes), _geometry(op)
    if op.dilation == (1, 1) and all(p < k for p, k in zip(op.padding, op.kernel * 2, strict=True)):
        real = writer.op("Cast", x, out=f"{name}/float", to=_TO_FLOAT)
        most = writer.op("MaxPool", real, out=f"{name}/most", **attributes)
        writer.op("Cast", most, out=scope.result(node.output), to=_TO_UINT8)
        return
    if any(op.padding):
        top, left, bottom, right = op.padding
        widths = writer.ints(0, 0, top, left, 0, 0, bottom, right)
        zero = writer.constant(np.array(0, np.uint8))
        x = writer.op("Pad", x, widths, zero, out=f"{name}/padded")
    attributes["pads"] = (0, 0, 0, 0)
    writer.op("MaxPool", x, out=scope.result(node.output), **attributes)


@WRITERS.of(MaxUnpool)
def max_unpool(scope: Scope, node: Node, op: MaxUnpool) -> None:
    """MaxUnpool of code - Z in float32, with the places that a MaxPool of x gives: exact numbers.

    Both follow the order of elements, so that the first maximum counts.
    """
    writer, name, axes = scope.writer, scope.name(node.output), node.output.type.axes
    v, x = (scope.operand(value, axes) for value in node.inputs)
    real = writer.op("Cast", x, out=f"{name}/image", to=_TO_FLOAT)
    window: dict[str, Attribute] = {"kernel_shape": op.kernel, "strides": op.kernel}
    _, places = writer.several("MaxPool", [real], [f"{name}/most", f"{name}/places"], window)
    zero = writer.constant(np.array(quant_scalars(node.inputs[0].type)[1], np.float32))
    codes = writer.op("Cast", v, out=f"{name}/float", to=_TO_FLOAT)
    centred = writer.op("Sub", codes, zero, out=f"{name}/centred")
    spread = writer.op("MaxUnpool", centred, places, out=f"{name}/spread", **window)
    whole = writer.op("Add", spread, zero, out=f"{name}/whole")
    writer.op("Cast", whole, out=scope.result(node.output), to=_TO_UINT8)


@WRITERS.of(SumPoolInteger)
def sum_pool(scope: Scope, node: Node, op: SumPoolInteger) -> None:
    """sum(q - Z) over each window, i32."""
    (x,) = node.inputs
    if op.kernel == x.type.shape[1:] and not any(op.padding):
        _global_sum(scope, node)
    else:
        _window_sum(scope, node, op)


def _global_sum(scope: Scope, node: Node) -> None:
    (x,), writer, name = node.inputs, scope.writer, scope.name(node.output)
    codes = scope.operand(x, node.output.type.axes)
    wide = writer.op("Cast", codes, out=f"{name}/wide", to=_TO_INT32)
    total = writer.op("ReduceSum", wide, writer.ints(2, 3), out=f"{name}/total", keepdims=1)
    zero = prod(x.type.shape[1:]) * int(quant_scalars(x.type)[1])
    offset = writer.constant(np.array(zero, np.int32))
    writer.op("Sub", total, offset, out=scope.result(node.output))


def _window_sum(scope: Scope, node: Node, op: SumPoolInteger) -> None:
    """A depthwise ConvInteger of ones; it pads with Z, so that padding adds nothing."""
    (x,), writer = node.inputs, scope.writer
    channels = x.type.shape[0]
    ones = writer.constant(np.ones((channels, 1, *op.kernel), np.uint8))
    zero_x = writer.constant(quant_scalars(x.type)[1])
    zero_w = writer.constant(np.array(0, np.uint8))
    codes = scope.operand(x, node.output.type.axes)
    inputs, out = (codes, ones, zero_x, zero_w), scope.result(node.output)
    writer.op("ConvInteger", *inputs, out=out, group=channels, **_geometry(op))


def _geometry(op: PoolingGeometry) -> dict[str, Attribute]:
    return {
        "kernel_shape": op.kernel,
        "strides": op.stride,
        "pads": op.padding,
        "dilations": op.dilation,
    }
