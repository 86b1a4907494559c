"""Ops that move elements, on any element type; axis 0 of a stored value is the row or sample."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope, Write
from qbnnc.ir.graph import Builder, Graph, Node, Value, rewrite
from qbnnc.ir.ops import (
    Concat,
    Dequantize,
    Gather,
    InsertZeros,
    Op,
    Pad,
    Reshape,
    Slice,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.types import TensorType
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()


def separate_reshapes(graph: Graph) -> Graph:
    """The graph with outputs that are reshaped as they leave: first the numbers, then the shape."""

    def rule(node: Node, build: Builder) -> Value | None:
        if not isinstance(node.op, Dequantize) or node.op.shape is None:
            return None
        name = node.output.name
        real = build.emit(Dequantize(), *node.inputs, loc=node.loc, name=f"{name}/own_shape")
        return build.emit(Reshape(node.op.shape), real, loc=node.loc, name=name)

    return rewrite(graph, rule)


@WRITERS.of(Reshape)
def reshape(scope: Scope, node: Node, op: Reshape) -> None:
    target = scope.writer.ints(0, *op.shape)
    scope.writer.op("Reshape", _moved(scope, node), target, out=scope.result(node.output))


@WRITERS.of(Concat)
def concat(scope: Scope, node: Node, op: Concat) -> None:
    """Concat, after repeating values along the axes that they lack."""
    parts = [scope.operand(value, node.output.type.axes) for value in node.inputs]
    scope.writer.op("Concat", *parts, out=scope.result(node.output), axis=op.axis + 1)


@WRITERS.of(Transpose)
def transpose(scope: Scope, node: Node, op: Transpose) -> None:
    order = (0, *(axis + 1 for axis in op.permutation))
    scope.writer.op("Transpose", _moved(scope, node), out=scope.result(node.output), perm=order)


@WRITERS.of(Slice)
def take_slice(scope: Scope, node: Node, op: Slice) -> None:
    x, writer = _moved(scope, node), scope.writer
    parts = (writer.ints(n) for n in (op.start, op.stop, op.axis + 1, op.step))
    writer.op("Slice", x, *parts, out=scope.result(node.output))


@WRITERS.of(Gather)
def gather(scope: Scope, node: Node, op: Gather) -> None:
    """Gather, or Expand where one element is repeated: it copies whole rows."""
    x, writer, extents = _moved(scope, node), scope.writer, node.output.type.shape
    out = scope.result(node.output)
    if node.inputs[0].type.shape[op.axis] == 1:
        times = [len(op.indices) if axis == op.axis else 1 for axis in range(len(extents))]
        writer.op("Expand", x, writer.ints(1, *times), out=out)
    else:
        writer.op("Gather", x, writer.ints(*op.indices), out=out, axis=op.axis + 1)


@WRITERS.of(Pad)
def pad(scope: Scope, node: Node, op: Pad) -> None:
    x, writer = _moved(scope, node), scope.writer
    before = [0] * (len(node.output.type.shape) - 1)
    top, left, bottom, right = op.padding
    widths = writer.ints(*before, top, left, *before, bottom, right)
    writer.op("Pad", x, widths, _zero(scope, node.output.type), out=scope.result(node.output))


@WRITERS.of(InsertZeros)
def insert_zeros(scope: Scope, node: Node, op: InsertZeros) -> None:
    """Pad [.., H, 1, W, 1] to [.., H, sh, W, sw], merge to [.., H*sh, W*sw], cut the last zeros."""
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


@WRITERS.of(UpsampleNearest)
def upsample(scope: Scope, node: Node, op: UpsampleNearest) -> None:
    """Repeat [.., H, 1, W, 1] to [.., H, fh, W, fw], and merge that to [.., H*fh, W*fw]."""
    x, writer, name = _moved(scope, node), scope.writer, scope.name(node.output)
    *outer, height, width = node.inputs[0].type.shape
    apart = writer.op(
        "Reshape", x, writer.ints(-1, *outer, height, 1, width, 1), out=f"{name}/apart"
    )
    times = writer.ints(*[1] * (len(outer) + 2), op.factors[0], 1, op.factors[1])
    each = writer.op("Expand", apart, times, out=f"{name}/each")
    scope.layout.merge(each, node.output.type.shape, scope.result(node.output))


def _moved(scope: Scope, node: Node) -> onnx_ir.Value:
    return scope.operand(node.inputs[0], node.output.type.axes)


def _zero(scope: Scope, type: TensorType) -> onnx_ir.Value:
    """The zero of a type: the zero point of codes."""
    zero = 0 if type.quant is None else type.quant.per_tensor[1]
    return scope.writer.constant(np.array(zero, type.dtype.numpy))
