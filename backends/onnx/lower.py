"""Each op of the INTEGER stage as ONNX nodes: the one place that knows all of them."""

from __future__ import annotations

from qbnnc.backends.onnx import elementwise, moves
from qbnnc.backends.onnx.contraction import (
    fused_reader,
    write_accumulators,
    write_fused,
)
from qbnnc.backends.onnx.noise import sampled_weight
from qbnnc.backends.onnx.pooling import max_pool, sum_pool
from qbnnc.backends.onnx.requantize import (
    clamp,
    dequantize_accumulator,
    quantize_input,
    requantize_explicitly,
)
from qbnnc.backends.onnx.sampled_fusion import fuses_in_scan, write_fused_scan
from qbnnc.backends.onnx.sampled_layers import write_sampled_accumulators
from qbnnc.backends.onnx.sampled_operands import is_sampled_layer
from qbnnc.backends.onnx.scope import Scope, quant_scalars
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Concat,
    Conv2dInteger,
    Dequantize,
    EpsCodes,
    Gather,
    InsertZeros,
    KeepMask,
    LinearInteger,
    Lookup,
    LookupReal,
    MaxPool2d,
    Move,
    MultiplyInteger,
    Op,
    Pad,
    QuantizeInput,
    Requantize,
    Reshape,
    SampledWeightInteger,
    Select,
    Slice,
    SumPoolInteger,
    Transpose,
    UpsampleNearest,
)
from qbnnc.ir.types import CONSTANT, DType
from qbnnc.support.errors import CompileError


def write_nodes(scope: Scope) -> None:
    """All nodes of the member but its masks and noise, and what earlier members have written."""
    fused = dict[Node, Node]()
    for node in scope.graph.nodes:
        scope.writer.place = str(node.loc)
        if node.output.type.axes == CONSTANT:
            raise CompileError(f"{node.op.name} of constants alone", node.loc, remedy="fold it")
        reader = _fused_reader(scope, node)
        if scope.take(node.output) or (reader is not None and scope.take(reader.output)):
            continue
        if reader is not None:
            fused[reader] = node
        elif node in fused:
            write = write_fused_scan if is_sampled_layer(fused[node]) else write_fused
            write(scope, fused[node], node)
        else:
            write_node(scope, node)
    scope.writer.place = ""


def _fused_reader(scope: Scope, node: Node) -> Node | None:
    if is_sampled_layer(node) and not fuses_in_scan(node):
        return None
    return fused_reader(scope.graph, node)


def write_node(scope: Scope, node: Node) -> None:
    """One node by itself."""
    match node.op:
        case KeepMask() | EpsCodes():
            pass
        case SampledWeightInteger():
            sampled_weight(scope, node)
        case QuantizeInput():
            quantize_input(scope, node)
        case LinearInteger() | Conv2dInteger() if is_sampled_layer(node):
            write_sampled_accumulators(scope, node)
        case LinearInteger() | Conv2dInteger():
            write_accumulators(scope, node)
        case Requantize():
            requantize_explicitly(scope, node)
        case Dequantize():
            _dequantize(scope, node)
        case AddQuantized():
            elementwise.add(scope, node)
        case MultiplyInteger():
            elementwise.multiply(scope, node)
        case Lookup() | LookupReal():
            elementwise.look_up(scope, node)
        case MaxPool2d():
            max_pool(scope, node)
        case SumPoolInteger():
            sum_pool(scope, node)
        case Select():
            elementwise.select(scope, node)
        case ClampCodes(low=low, high=high):
            x = scope.operand(node.inputs[0], node.output.type.axes)
            clamp(scope.writer, x, low, high, scope.result(node.output))
        case Reshape() | Concat() | Move() as op:
            _move(scope, node, op)
        case op:
            raise CompileError(f"{op.name} has no ONNX form", node.loc)


def _move(scope: Scope, node: Node, op: Op) -> None:
    match op:
        case Reshape():
            moves.reshape(scope, node, op)
        case Concat():
            moves.concat(scope, node, op)
        case Transpose():
            moves.transpose(scope, node, op)
        case Slice():
            moves.take_slice(scope, node, op)
        case Gather():
            moves.gather(scope, node, op)
        case Pad():
            moves.pad(scope, node, op)
        case InsertZeros():
            moves.insert_zeros(scope, node, op)
        case UpsampleNearest():
            moves.upsample(scope, node, op)
        case _:
            raise CompileError(f"{op.name} has no ONNX form", node.loc)


def _dequantize(scope: Scope, node: Node) -> None:
    """Codes by DequantizeLinear, accumulators by Cast and Mul."""
    if node.inputs[0].type.dtype is DType.I32:
        return dequantize_accumulator(scope, node)
    scale, zero = (scope.writer.constant(a) for a in quant_scalars(node.inputs[0].type))
    q, out = scope.operand(node.inputs[0], node.output.type.axes), scope.result(node.output)
    scope.writer.op("DequantizeLinear", q, scale, zero, out=out)
