"""The roundings of docs/semantics.md, section 2, as ONNX nodes, and the clamps around them."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.scope import Scope, Write, quant_scalars
from qbnnc.backends.onnx.writer import Writer
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import ClampedOp, Dequantize, Op, QuantizeInput, Requantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.scales import multiplier
from qbnnc.ir.types import Array, DType, QuantParams
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()

_TO_FLOAT, _TO_UINT8 = int(onnx_ir.DataType.FLOAT), int(onnx_ir.DataType.UINT8)


def clamp(
    writer: Writer, codes: onnx_ir.Value, low: int, high: int, out: onnx_ir.Value
) -> onnx_ir.Value:
    """min(max(codes, low), high) of u8 codes.

    It is always there, at 0 and 255 too: between two quantised layers it keeps onnxruntime from
    merging Q -> DQ -> Q -> DQ, which loses a rounding. Min and Max of 8-bit codes would have no
    kernel before onnxruntime 1.24. An inline file clips float32 numbers, which hold every code:
    IREE 3.13 compares bytes as if they had signs.
    """
    if writer.inline:
        reals = (writer.constant(np.array(end, np.float32)) for end in (low, high))
        wide = writer.op("Cast", codes, out=f"{codes.name}/wide", to=_TO_FLOAT)
        clipped = writer.op("Clip", wide, *reals, out=f"{codes.name}/clipped")
        return writer.op("Cast", clipped, out=out, to=_TO_UINT8)
    ends = (writer.constant(np.array(end, np.uint8)) for end in (low, high))
    return writer.op("Clip", codes, *ends, out=out)


def quantize_float(
    scope: Scope,
    node: Node,
    real: onnx_ir.Value,
    out: onnx_ir.Value,
    scale: float | None = None,
) -> onnx_ir.Value:
    """QuantizeLinear of the float numbers behind an op whose codes are clamped, and its clamp.

    Their step is that of the codes, or another `scale`.
    """
    assert isinstance(node.op, ClampedOp)
    writer, name = scope.writer, scope.name(node.output)
    own, zero = quant_scalars(node.output.type)
    step = writer.constant(own if scale is None else np.array(scale, np.float32))
    codes = writer.op("QuantizeLinear", real, step, writer.constant(zero), out=f"{name}/unclamped")
    return clamp(writer, codes, node.op.low, node.op.high, out)


@WRITERS.of(QuantizeInput)
def quantize_input(scope: Scope, node: Node, op: QuantizeInput) -> None:
    """quant(f32(x - offset), scale, Z), per channel where the scales are."""
    writer, name = scope.writer, scope.name(node.output)
    x, rank = scope.operand(node.inputs[0], node.output.type.axes), len(node.output.type.shape)
    if any(op.offset):
        offset = np.asarray(op.offset, np.float32).reshape(-1, *[1] * (rank - 1))
        x = writer.op("Sub", x, writer.constant(offset), out=f"{name}/centred")
    scale = np.asarray(op.scale, np.float32)
    zero = np.full(scale.shape, op.quant.per_tensor[1], np.uint8)
    if len(scale) == 1:
        parts = (writer.constant(scale.reshape(())), writer.constant(zero.reshape(())))
        codes = writer.op("QuantizeLinear", x, *parts, out=f"{name}/unclamped")
    else:
        parts = (writer.constant(scale), writer.constant(zero))
        codes = writer.op("QuantizeLinear", x, *parts, out=f"{name}/unclamped", axis=1)
    clamp(writer, codes, op.low, op.high, scope.result(node.output))


@WRITERS.of(Requantize)
def requantize_explicitly(scope: Scope, node: Node, op: Requantize) -> None:
    """f32(acc) * m, rounded by a QuantizeLinear of scale 1: the same at every level."""
    writer, name = scope.writer, scope.name(node.output)
    acc = scope.operand(node.inputs[0], node.output.type.axes)
    factor = scope.constant(node.inputs[1], node)
    real = writer.op("Cast", acc, out=f"{name}/float", to=_TO_FLOAT)
    scaled = writer.op("Mul", real, writer.constant(factor), out=f"{name}/scaled")
    one = writer.constant(np.array(1, np.float32))
    zero = writer.constant(np.array(op.quant.per_tensor[1], np.uint8))
    codes = writer.op("QuantizeLinear", scaled, one, zero, out=f"{name}/unclamped")
    clamp(writer, codes, op.low, op.high, scope.result(node.output))


@WRITERS.of(Dequantize)
def dequantize(scope: Scope, node: Node, op: Dequantize) -> None:
    """The numbers of codes by DequantizeLinear, those of accumulators by Cast and Mul."""
    if node.inputs[0].type.dtype is DType.I32:
        return _dequantize_accumulator(scope, node)
    scale, zero = (scope.writer.constant(a) for a in quant_scalars(node.inputs[0].type))
    q, out = scope.operand(node.inputs[0], node.output.type.axes), scope.result(node.output)
    scope.writer.op("DequantizeLinear", q, scale, zero, out=out)


def _dequantize_accumulator(scope: Scope, node: Node) -> None:
    """f32(acc) * S, the accumulator's own scale."""
    (acc,), writer, name = node.inputs, scope.writer, scope.name(node.output)
    scale = codes_of(acc.type).scale_array(len(acc.type.shape))
    stored = scope.operand(acc, node.output.type.axes)
    real = writer.op("Cast", stored, out=f"{name}/float", to=_TO_FLOAT)
    writer.op("Mul", real, writer.constant(scale), out=scope.result(node.output))


def is_fused_multiplier(factor: Array, acc: QuantParams, shape: tuple[int, ...], y: float) -> bool:
    """Whether `factor` is, bit for bit, what a fused kernel makes of the three scales."""
    kernel = multiplier(acc.scale, y).reshape(acc.scale_array(len(shape)).shape)
    ours, theirs = np.broadcast_to(factor, shape), np.broadcast_to(kernel, shape)
    return np.array_equal(ours.view(np.uint32), theirs.view(np.uint32))
