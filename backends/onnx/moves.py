"""Ops that move elements, on any element type; axis 0 of a stored value is the row or sample."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope, Writers
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import (
    Concat,
    Dequantize,
    Gather,
    InsertZeros,
    Pad,
    Reshape,
    Slice,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.types import TensorType


def separate_reshapes(graph: Graph) -> Graph:
    """Outputs that are reshaped as they leave: first the numbers, then their shape."""

    def rule(node: Node, build: Builder) -> Value | None:
        if not isinstance(node.op, Dequantize) or node.op.shape is None:
            return None
        name = node.output.name
        real = build.emit(Dequantize(), *node.inputs, loc=node.loc, name=f"{name}/own_shape")
        return build.emit(Reshape(node.op.shape), real, loc=node.loc, name=name)

    return rewrite(graph, rule)


def reshape(scope: Scope, node: Node) -> None:
    op = node.op
    assert isinstance(op, Reshape)
    target = scope.writer.ints(0, *op.shape)
    scope.writer.op("Reshape", _moved(scope, node), target, out=scope.result(node.output))


def concat(scope: Scope, node: Node) -> None:
    """Values that vary with less than the result are repeated first."""
    op = node.op
    assert isinstance(op, Concat)
    parts = [scope.operand(value, node.output.type.axes) for value in node.inputs]
    scope.writer.op("Concat", *parts, out=scope.result(node.output), axis=op.axis + 1)


def transpose(scope: Scope, node: Node) -> None:
    op = node.op
    assert isinstance(op, Transpose)
    order = (0, *(axis + 1 for axis in op.permutation))
    scope.writer.op("Transpose", _moved(scope, node), out=scope.result(node.output), perm=order)


def take_slice(scope: Scope, node: Node) -> None:
    op = node.op
    assert isinstance(op, Slice)
    x, writer = _moved(scope, node), scope.writer
    parts = (writer.ints(n) for n in (op.start, op.stop, op.axis + 1, op.step))
    writer.op("Slice", x, *parts, out=scope.result(node.output))


def gather(scope: Scope, node: Node) -> None:
    """Gather, or Expand where one element is repeated: it copies whole rows."""
    op = node.op
    assert isinstance(op, Gather)
    x, writer, extents = _moved(scope, node), scope.writer, node.output.type.shape
    out = scope.result(node.output)
    if node.inputs[0].type.shape[op.axis] == 1:
        times = [len(op.indices) if axis == op.axis else 1 for axis in range(len(extents))]
        writer.op("Expand", x, writer.ints(1, *times), out=out)
    else:
        writer.op("Gather", x, writer.ints(*op.indices), out=out, axis=op.axis + 1)


def pad(scope: Scope, node: Node) -> None:
    op = node.op
    assert isinstance(op, Pad)
    x, writer = _moved(scope, node), scope.writer
    before = [0] * (len(node.output.type.shape) - 1)
    top, left, bottom, right = op.padding
    widths = writer.ints(*before, top, left, *before, bottom, right)
    writer.op("Pad", x, widths, _zero(scope, node.output.type), out=scope.result(node.output))


def insert_zeros(scope: Scope, node: Node) -> None:
    """[.., H, 1, W, 1] padded to [.., H, sh, W, sw]; as [.., H*sh, W*sw] without the last zeros."""
    op = node.op
    assert isinstance(op, InsertZeros)
    x, writer, name = _moved(scope, node), scope.writer, scope.name(node.output)
    *outer, height, width = node.inputs[0].type.shape
    step_h, step_w = op.stride
    apart = writer.op(
        "Reshape", x, writer.ints(-1, *outer, height, 1, width, 1), out=f"{name}/apart"
    )
    none = [0] * (len(outer) + 1)
    widths = writer.ints(*none, 0, 0, 0, 0, *none, 0, step_h - 1, 0, step_w - 1)
    zero = _zero(scope, node.output.type)
    filled = writer.op("Pad", apart, widths, zero, out=f"{name}/filled")
    whole = writer.ints(-1, *outer, height * step_h, width * step_w)
    joined = writer.op("Reshape", filled, whole, out=f"{name}/joined")
    ends = writer.ints((height - 1) * step_h + 1, (width - 1) * step_w + 1)
    axes = writer.ints(len(outer) + 1, len(outer) + 2)
    writer.op("Slice", joined, writer.ints(0, 0), ends, axes, out=scope.result(node.output))


def upsample(scope: Scope, node: Node) -> None:
    """[.., H, 1, W, 1] repeated to [.., H, fh, W, fw], as [.., H*fh, W*fw]."""
    op = node.op
    assert isinstance(op, UpsampleNearest)
    x, writer, name = _moved(scope, node), scope.writer, scope.name(node.output)
    *outer, height, width = node.inputs[0].type.shape
    apart = writer.op(
        "Reshape", x, writer.ints(-1, *outer, height, 1, width, 1), out=f"{name}/apart"
    )
    times = writer.ints(*[1] * (len(outer) + 2), op.factors[0], 1, op.factors[1])
    each = writer.op("Expand", apart, times, out=f"{name}/each")
    scope.layout.merge(each, node.output.type.shape, scope.result(node.output))


WRITERS: Writers = {
    Concat: concat,
    Gather: gather,
    InsertZeros: insert_zeros,
    Pad: pad,
    Reshape: reshape,
    Slice: take_slice,
    Transpose: transpose,
    UpsampleNearest: upsample,
}


def _moved(scope: Scope, node: Node) -> onnx_ir.Value:
    return scope.operand(node.inputs[0], node.output.type.axes)


def _zero(scope: Scope, type: TensorType) -> onnx_ir.Value:
    """What stands for zero: the zero point of codes."""
    zero = 0 if type.quant is None else type.quant.per_tensor[1]
    return scope.writer.constant(np.array(zero, type.dtype.numpy))
