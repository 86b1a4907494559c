"""Layers whose weight or bias is sampled: every sample has accumulators of its own.

- linear, of a weight that is chosen: see `chosen_layers`.
- other linear ones: MatMulInteger of x and the transposed weights, which broadcasts over the
  samples. Not a QDQ MatMul, which onnxruntime leaves in float when its weights have a batch.
- convolution of a value without samples: the samples of the weights become output channels.
- other convolutions: a Scan over the samples, whose body is a QDQ Conv where a fused kernel
  returns the same bits (`sampled_fusion`), and a ConvInteger otherwise.

Values here are [L, B, *shape], with 1 in place of L or B where a value lacks it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.chosen_layers import choice_of, write_chosen_products
from qbnnc.backends.onnx.contraction import (
    geometry,
    input_axes,
    is_sampled,
    write_convolution,
    write_matmul,
    write_window_sums,
    zero_points,
)
from qbnnc.backends.onnx.sampled_fusion import is_scanned
from qbnnc.backends.onnx.sampled_operands import bias_codes, refuse_folded, rows, weight_codes
from qbnnc.backends.onnx.scope import Scope, quant_scalars
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import LinearInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Axis


def write_sampled_accumulators(scope: Scope, node: Node) -> None:
    """sum (q_x - Z_x)(q_w - Z_w) + q_b, as the value of the node."""
    refuse_folded(node)
    if not is_sampled(node.inputs[1]):
        products = _constant_weight(scope, node)
    elif (choice := choice_of(scope.graph, node)) is not None:
        products = write_chosen_products(scope, node, choice)
    elif isinstance(node.op, LinearInteger):
        products = _matmul(scope, node)
    else:
        products = _convolution(scope, node)
    name, bias = scope.name(node.output), bias_codes(scope, node)
    total = scope.writer.op("Add", products, bias, out=f"{name}/apart")
    scope.layout.merge(total, node.output.type.shape, scope.result(node.output))


def _constant_weight(scope: Scope, node: Node) -> onnx_ir.Value:
    """The products of a layer that samples only its bias: once for all samples, if x allows."""
    write = write_matmul if isinstance(node.op, LinearInteger) else write_convolution
    return _apart(scope, node, write(scope, node, scope.name(node.output)))


def _apart(scope: Scope, node: Node, products: onnx_ir.Value) -> onnx_ir.Value:
    """Products, which vary as x does, with both leading axes."""
    return scope.layout.spread(products, replace(node.output.type, axes=input_axes(node)))


def _matmul(scope: Scope, node: Node) -> onnx_ir.Value:
    """x [L or 1, B, K] times W^T [L, K, N], with one zero point or zero points [L, 1, N]."""
    writer, name, (x, weight, _) = scope.writer, scope.name(node.output), node.inputs
    codes, shift = weight_codes(scope, node, unsigned=False)
    matrix = writer.op("Transpose", codes, out=f"{name}/matrix", perm=(0, 2, 1))
    zero = zero_points(codes_of(weight.type), shift)
    if zero.ndim and (zero == zero[0]).all():
        zero = zero[0].reshape(())
    if zero.ndim:
        zero = np.broadcast_to(zero, (scope.layout.samples, 1, len(zero))).copy()
    zeros = (writer.constant(quant_scalars(x.type)[1]), writer.constant(zero))
    spread = scope.spread(x, input_axes(node))
    return writer.op("MatMulInteger", spread, matrix, *zeros, out=f"{name}/products")


def _convolution(scope: Scope, node: Node) -> onnx_ir.Value:
    """The products of a convolution by ConvInteger, with zero points as in `write_convolution`."""
    writer, name, quant = scope.writer, scope.name(node.output), codes_of(node.inputs[1].type)
    codes, shift = weight_codes(scope, node, unsigned=True)
    same = len(set(quant.zero_point)) == 1
    zero = writer.constant(np.array(shift + same * quant.zero_point[0], np.uint8))
    form = _scan if is_scanned(node) else _all_channels
    products = form(scope, node, codes, zero)
    if same:
        return products
    sums = write_window_sums(scope, node, name)
    zeros = writer.constant(np.asarray(quant.zero_point, np.int32).reshape(-1, 1, 1))
    correction = writer.op("Mul", sums, zeros, out=f"{name}/correction")
    own = _apart(scope, node, correction)
    return writer.op("Sub", products, own, out=f"{name}/corrected")


def _scan(scope: Scope, node: Node, codes: onnx_ir.Value, zero: onnx_ir.Value) -> onnx_ir.Value:
    writer, name, axes = scope.writer, scope.name(node.output), input_axes(node)
    zero_x, shared = writer.constant(quant_scalars(node.inputs[0].type)[1]), rows(scope, node)
    own = [scope.spread(node.inputs[0], axes)] if Axis.SAMPLE in axes else []

    def body(items: list[onnx_ir.Value]) -> list[onnx_ir.Value]:
        parts = (items[1] if own else shared, items[0], zero_x, zero)
        return [writer.op("ConvInteger", *parts, out=f"{name}/of_sample", **geometry(node))]

    (products,) = writer.scan(body, scope.layout.samples, [codes, *own], [f"{name}/products"])
    return products


def _all_channels(
    scope: Scope, node: Node, codes: onnx_ir.Value, zero: onnx_ir.Value
) -> onnx_ir.Value:
    """Convolve with the weights of all samples at once: L*O channels, taken apart afterwards."""
    writer, name = scope.writer, scope.name(node.output)
    kernel = writer.ints(-1, *node.inputs[1].type.shape[1:])
    weights = writer.op("Reshape", codes, kernel, out=f"{name}/channels")
    zero_x = writer.constant(quant_scalars(node.inputs[0].type)[1])
    parts = (rows(scope, node), weights, zero_x, zero)
    every = writer.op("ConvInteger", *parts, out=f"{name}/every", **geometry(node))
    shape = writer.ints(-1, scope.layout.samples, *node.output.type.shape)
    apart = writer.op("Reshape", every, shape, out=f"{name}/samples_apart")
    return writer.op("Transpose", apart, out=f"{name}/products", perm=(1, 0, 2, 3, 4))
