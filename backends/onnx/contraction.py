"""Linear and convolution layers: fused QDQ where onnxruntime has a kernel, integers otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.names import TRANSPOSED, UNSIGNED
from qbnnc.backends.onnx.requantize import is_fused_multiplier, quantize_float
from qbnnc.backends.onnx.scope import Scope, quant_scalars
from qbnnc.backends.onnx.writer import Attribute, Writer
from qbnnc.ir.graph import Graph, Node, Value
from qbnnc.ir.ops import (
    ContractionInteger,
    Conv2dInteger,
    Dequantize,
    LinearInteger,
    Requantize,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import CONSTANT, Array, Axes, QuantParams
from qbnnc.ir.weights import channel_sums

SIGNED_TO_UNSIGNED = 128


@dataclass(frozen=True, slots=True)
class Weights:
    """A layer's constant codes: i8 and shift 0, or u8 and shift 128; `form` ends their name."""

    codes: Array
    shift: int
    form: str


def is_sampled(value: Value) -> bool:
    """Whether a weight or bias varies with the sample."""
    return value.type.axes != CONSTANT


def input_axes(node: Node) -> Axes:
    """The axes of a layer's input; the axes of its output where the input is a constant."""
    return node.inputs[0].type.axes or node.output.type.axes


def fused_reader(graph: Graph, node: Node) -> Node | None:
    """The Requantize that one kernel computes with `node`; after a linear layer a Dequantize too.

    None if `node` is no layer, if its accumulators have another reader, or if the multiplier is not
    f32(f32(S_x*S_w)/S_y). None, too, if channels of a convolution have zero points of their own:
    the QLinearConv of onnxruntime 1.21 to 1.24 rejects these when it runs.
    """
    if not isinstance(node.op, ContractionInteger):
        return None
    if isinstance(node.op, Conv2dInteger) and not _has_one_zero_point(node):
        return None
    reader, acc = graph.only_reader(node.output), node.output.type
    match reader:
        case Node(op=Dequantize()) if isinstance(node.op, LinearInteger):
            return reader
        case Node(op=Requantize(quant=quant), inputs=(_, factor)) if factor in graph.constants:
            array, scale = graph.constants[factor], quant.per_tensor[0]
            fits = is_fused_multiplier(array, codes_of(acc), acc.shape, scale)
            return reader if fits else None
        case _:
            return None


def _has_one_zero_point(layer: Node) -> bool:
    return len(set(codes_of(layer.inputs[1].type).zero_point)) == 1


def write_fused(scope: Scope, node: Node, reader: Node) -> None:
    """DequantizeLinear of x, weight and bias -> Conv or Gemm [-> QuantizeLinear -> clamp].

    onnxruntime makes QLinearConv or QGemm of these. A Conv must have its QuantizeLinear, or it
    would stay float.
    """
    writer, name = scope.writer, scope.name(reader.output)
    inputs = (
        scope.codes(node.inputs[0], node.output.type.axes),
        _real_weight(scope, node),
        _real_bias(scope, node),
    )
    kind = "Gemm" if isinstance(node.op, LinearInteger) else "Conv"
    attributes = {"transB": 1} if kind == "Gemm" else geometry(node)
    if isinstance(reader.op, Dequantize):
        writer.op(kind, *inputs, out=scope.result(reader.output), **attributes)
    else:
        real = writer.op(kind, *inputs, out=f"{name}/real", **attributes)
        quantize_float(scope, reader, real, scope.result(reader.output))


def write_accumulators(scope: Scope, node: Node) -> None:
    """Write the int32 accumulators themselves: MatMulInteger or ConvInteger, plus the bias."""
    name, writer = scope.name(node.output), scope.writer
    bias = raw_bias(scope, node)
    if isinstance(node.op, LinearInteger):
        products = write_matmul(scope, node, name)
    else:
        products = write_convolution(scope, node, name)
        bias = bias.reshape(-1, 1, 1)
    writer.op(
        "Add",
        products,
        scope.bias(node, bias),
        out=scope.result(node.output),
    )


def geometry(node: Node) -> dict[str, Attribute]:
    """The attributes of a Conv or ConvInteger."""
    op = node.op
    assert isinstance(op, Conv2dInteger)
    return {
        "strides": op.stride,
        "pads": op.padding,
        "dilations": op.dilation,
        "group": op.groups,
        "kernel_shape": node.inputs[1].type.shape[2:],
    }


def qdq_weights(scope: Scope, node: Node) -> Weights:
    """The layer's weight, int8 unless its products could saturate (section 3)."""
    value = node.inputs[1]
    codes = scope.constant(value, node)
    if may_saturate(codes_of(node.inputs[0].type), codes_of(value.type)):
        return Weights(unsigned(codes), SIGNED_TO_UNSIGNED, UNSIGNED)
    return Weights(codes, 0, "")


def zero_points(quant: QuantParams, shift: int) -> Array:
    """Z_w in the element type of the codes, for each output channel or one."""
    zeros = np.asarray(quant.zero_point, np.int32) + shift
    typed: Array = zeros.astype(np.uint8 if shift else np.int8)
    return typed if quant.axis is not None else typed.reshape(())


def may_saturate(x: QuantParams, weight: QuantParams) -> bool:
    """Whether vpmaddubsw, which adds two u8*s8 products in int16, can leave int16.

    Not with activation codes up to 128, nor with weight codes of 7 bits.
    """
    return x.high > 128 and (weight.low < -64 or weight.high > 63)


def unsigned(codes: Array) -> Array:
    """Signed 8-bit codes plus 128, as u8."""
    return (codes.astype(np.int32) + SIGNED_TO_UNSIGNED).astype(np.uint8)


def raw_bias(scope: Scope, node: Node) -> Array:
    """q_b, i32 [O], mod 2^32: without the terms of equation (2) that a pass folded into it."""
    bias = scope.constant(node.inputs[2], node)
    x, weight = codes_of(node.inputs[0].type), codes_of(node.inputs[1].type)
    if not _folded(node):
        return bias
    codes = scope.constant(node.inputs[1], node)
    terms = channel_sums(codes, np.array(weight.zero_point, np.int32)).offline_terms(
        x.per_tensor[1]
    )
    wrapped: Array = (bias.astype(np.int64) - terms).astype(np.int32)
    return wrapped


def _folded(node: Node) -> bool:
    assert isinstance(node.op, ContractionInteger)
    return node.op.folded


def _real_weight(scope: Scope, node: Node) -> onnx_ir.Value:
    writer, weights = scope.writer, qdq_weights(scope, node)
    codes = scope.weight(node.inputs[1], weights.codes, weights.form)
    quant = codes_of(node.inputs[1].type)
    return dequantized(writer, codes, quant, zero_points(quant, weights.shift))


def _real_bias(scope: Scope, node: Node) -> onnx_ir.Value:
    bias = raw_bias(scope, node)
    codes = scope.bias(node, bias) if _folded(node) else scope.weight(node.inputs[2], bias)
    return dequantized_bias(scope.writer, codes, node)


def dequantized_bias(writer: Writer, codes: onnx_ir.Value, node: Node) -> onnx_ir.Value:
    """The bias as a fused kernel takes it: the scale is the accumulators', the zero point 0."""
    quant = codes_of(node.output.type)
    zeros = np.zeros(() if quant.axis is None else len(quant.scale), np.int32)
    return dequantized(writer, codes, quant, zeros)


def dequantized(
    writer: Writer, codes: onnx_ir.Value, quant: QuantParams, zeros: Array
) -> onnx_ir.Value:
    """DequantizeLinear of a weight or bias, per channel of axis 0 or for the whole tensor."""
    scale = np.asarray(quant.scale, np.float32).reshape(zeros.shape)
    parts = (codes, writer.constant(scale), writer.constant(zeros))
    attributes: dict[str, Attribute] = {"axis": 0} if zeros.ndim else {}
    return writer.op("DequantizeLinear", *parts, out=f"{codes.name}/real", **attributes)


def write_matmul(scope: Scope, node: Node, name: str) -> onnx_ir.Value:
    """sum (q_x - Z_x)(q_w - Z_w): MatMulInteger takes a zero point for each column."""
    writer, weights = scope.writer, qdq_weights(scope, node)
    x = scope.operand(node.inputs[0], input_axes(node))
    matrix = scope.weight(node.inputs[1], weights.codes.T, weights.form + TRANSPOSED)
    zero_x = writer.constant(quant_scalars(node.inputs[0].type)[1])
    zero_w = writer.constant(zero_points(codes_of(node.inputs[1].type), weights.shift))
    return writer.op("MatMulInteger", x, matrix, zero_x, zero_w, out=f"{name}/products")


def write_convolution(scope: Scope, node: Node, name: str) -> onnx_ir.Value:
    """sum (q_x - Z_x)(q_w - Z_w) by ConvInteger: u8 weights are faster than i8, cannot saturate.

    It takes one zero point for all channels. Several ones subtract Z_w * sum(q_x - Z_x), which is a
    second ConvInteger.
    """
    writer, quant = scope.writer, codes_of(node.inputs[1].type)
    codes = unsigned(scope.constant(node.inputs[1], node))
    same = _has_one_zero_point(node)
    zero = SIGNED_TO_UNSIGNED + (quant.zero_point[0] if same else 0)
    weight = scope.weight(node.inputs[1], codes, UNSIGNED)
    products = _conv_integer(scope, node, weight, zero, f"{name}/products")
    if same:
        return products
    sums = write_window_sums(scope, node, name)
    zeros = writer.constant(np.asarray(quant.zero_point, np.int32).reshape(-1, 1, 1))
    correction = writer.op("Mul", sums, zeros, out=f"{name}/correction")
    return writer.op("Sub", products, correction, out=f"{name}/corrected")


def write_window_sums(scope: Scope, node: Node, name: str) -> onnx_ir.Value:
    """sum(q_x - Z_x) over each channel's window: i32 [.., O or 1, Ho, Wo]."""
    assert isinstance(node.op, Conv2dInteger)
    shape = node.inputs[1].type.shape
    ones = np.ones(shape if node.op.groups > 1 else (1, *shape[1:]), np.uint8)
    return _conv_integer(scope, node, scope.writer.constant(ones), 0, f"{name}/window_sums")


def _conv_integer(
    scope: Scope, node: Node, weight: onnx_ir.Value, zero: int, out: str
) -> onnx_ir.Value:
    """ConvInteger; it pads with the zero point of x."""
    x = scope.operand(node.inputs[0], input_axes(node))
    zero_x = scope.writer.constant(quant_scalars(node.inputs[0].type)[1])
    zero_w = scope.writer.constant(np.array(zero, np.uint8))
    return scope.writer.op("ConvInteger", x, weight, zero_x, zero_w, out=out, **geometry(node))
