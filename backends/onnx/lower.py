"""Each op of the INTEGER stage as ONNX nodes: the one place that knows all of them."""

from __future__ import annotations

from qbnnc.backends.onnx.contraction import fused_reader, write_accumulators, write_fused
from qbnnc.backends.onnx.pooling import max_pool, sum_pool
from qbnnc.backends.onnx.requantize import (
    clamp,
    dequantize_accumulator,
    quantize_float,
    quantize_input,
    requantize_explicitly,
)
from qbnnc.backends.onnx.scope import Scope, quant_scalars
from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Conv2dInteger,
    Dequantize,
    KeepMask,
    LinearInteger,
    MaxPool2d,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.types import CONSTANT, DType


def write_nodes(scope: Scope) -> None:
    """All nodes of the member but its masks, which are there already."""
    fused = dict[Node, Node]()
    for node in scope.graph.nodes:
        scope.writer.place = str(node.loc)
        if node.output.type.axes == CONSTANT:
            raise CompileError(f"{node.op.name} of constants alone: fold it", node.loc)
        if (reader := fused_reader(scope.graph, node)) is not None:
            fused[reader] = node
        elif node in fused:
            write_fused(scope, fused[node], node)
        else:
            write_node(scope, node)
    scope.writer.place = ""


def write_node(scope: Scope, node: Node) -> None:
    """One node by itself."""
    match node.op:
        case KeepMask():
            pass
        case QuantizeInput():
            quantize_input(scope, node)
        case LinearInteger() | Conv2dInteger():
            write_accumulators(scope, node)
        case Requantize():
            requantize_explicitly(scope, node)
        case Dequantize():
            _dequantize(scope, node)
        case AddQuantized():
            _add(scope, node)
        case MaxPool2d():
            max_pool(scope, node)
        case SumPoolInteger():
            sum_pool(scope, node)
        case Select():
            _select(scope, node)
        case ClampCodes(low=low, high=high):
            x = scope.operand(node.inputs[0], node.output.type.axes)
            clamp(scope.writer, x, low, high, scope.result(node.output))
        case Reshape(shape=shape):
            x = scope.operand(node.inputs[0], node.output.type.axes)
            target = scope.writer.ints(0, *shape)
            scope.writer.op("Reshape", x, target, out=scope.result(node.output))
        case op:
            raise CompileError(f"{op.name} has no ONNX form", node.loc)


def _dequantize(scope: Scope, node: Node) -> None:
    """Codes by DequantizeLinear, accumulators by Cast and Mul."""
    if node.inputs[0].type.dtype is DType.I32:
        return dequantize_accumulator(scope, node)
    scale, zero = (scope.writer.constant(a) for a in quant_scalars(node.inputs[0].type))
    q, out = scope.operand(node.inputs[0], node.output.type.axes), scope.result(node.output)
    scope.writer.op("DequantizeLinear", q, scale, zero, out=out)


def _add(scope: Scope, node: Node) -> None:
    """Sum(DQ, DQ) -> Q. Not Add: onnxruntime would fuse it to a kernel that uses FMA."""
    axes = node.output.type.axes
    terms = [scope.codes(value, axes) for value in node.inputs]
    total = scope.writer.op("Sum", *terms, out=f"{scope.name(node.output)}/sum")
    quantize_float(scope, node, total)


def _select(scope: Scope, node: Node) -> None:
    """q * keep, or (q - Z) * keep + Z in wrapping uint8 where Z is not 0.

    A value without samples meets its mask by broadcasting: this is where the deterministic prefix
    is repeated, at no cost of its own.
    """
    (q, mask), axes, writer = node.inputs, node.output.type.axes, scope.writer
    stored, keep, name = scope.stored(q), scope.stored(mask), scope.name(node.output)
    if q.type.axes == CONSTANT:
        stored = scope.operand(q, axes)
    apart = q.type.axes not in (CONSTANT, mask.type.axes)
    if apart:
        stored, keep = scope.layout.spread(stored, q.type), scope.layout.spread(keep, mask.type)
    zero, out = quant_scalars(q.type)[1], scope.result(node.output)
    selected = f"{name}/selected" if apart else out
    if zero == 0:
        made = writer.op("Mul", stored, keep, out=selected)
    else:
        shift = writer.constant(zero)
        centred = writer.op("Sub", stored, shift, out=f"{name}/centred")
        kept = writer.op("Mul", centred, keep, out=f"{name}/kept")
        made = writer.op("Add", kept, shift, out=selected)
    if apart:
        scope.layout.merge(made, node.output.type.shape, out)
