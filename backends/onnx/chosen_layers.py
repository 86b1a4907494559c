"""Linear layers that choose one of several constant weights [M, N, K], stored as [M, K, N].

- x without samples, and no more members than samples: products with all members, one of which is
  taken for each sample. These weights are constant, and onnxruntime packs them when it loads the
  file. To pack weights in every run takes two to four times as long.
- otherwise, and in an inline file: MatMulInteger of x and the weights that are taken.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.contraction import (
    SIGNED_TO_UNSIGNED,
    input_axes,
    may_saturate,
    unsigned,
    zero_points,
)
from qbnnc.backends.onnx.names import TRANSPOSED, UNSIGNED
from qbnnc.backends.onnx.scope import Scope, quant_scalars
from qbnnc.ir.graph import Graph, Node
from qbnnc.ir.ops import Choice, LinearInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, Axis


def is_chosen_by_layer(graph: Graph, choice: Node) -> bool:
    """Whether nothing but a linear layer reads a choice, as its weight."""
    layer = graph.only_reader(choice.output)
    if layer is None or not isinstance(layer.op, LinearInteger):
        return False
    return [value is choice.output for value in layer.inputs] == [False, True, False]


def choice_of(graph: Graph, layer: Node) -> Node | None:
    """The choice that a layer makes itself; None if its weight is made otherwise."""
    made = graph.producers().get(layer.inputs[1])
    if made is None or not isinstance(made.op, Choice) or not is_chosen_by_layer(graph, made):
        return None
    return made


def write_chosen_products(scope: Scope, layer: Node, choice: Node) -> onnx_ir.Value:
    """sum (q_x - Z_x)(q_w - Z_w) of the members that are chosen: i32 [L, B, N]."""
    writer, name, (values, index) = scope.writer, scope.name(layer.output), choice.inputs
    matrices, zeros = _members(scope, layer, choice)
    numbers = writer.op("Reshape", scope.stored(index), writer.ints(-1), out=f"{name}/numbers")
    few = values.type.shape[0] <= scope.layout.samples
    if few and not writer.inline and Axis.SAMPLE not in input_axes(layer):
        every = _of_all_members(scope, layer, values.type.shape[0], matrices, zeros)
        return writer.op("Gather", every, numbers, out=f"{name}/chosen", axis=0)
    chosen = writer.op("Gather", matrices, numbers, out=f"{name}/matrix", axis=0)
    if zeros.ndim:
        zeros = np.broadcast_to(zeros, (scope.layout.samples, 1, len(zeros))).copy()
    x = scope.spread(layer.inputs[0], input_axes(layer))
    return _product(scope, layer, x, chosen, zeros)


def _members(scope: Scope, layer: Node, choice: Node) -> tuple[onnx_ir.Value, Array]:
    """The weights [M, K, N], u8 if their products could saturate (section 3), and zero points."""
    quant, values = codes_of(layer.inputs[1].type), choice.inputs[0]
    codes, form, shift = scope.constant(values, choice), "", 0
    if may_saturate(codes_of(layer.inputs[0].type), quant):
        codes, form, shift = unsigned(codes), UNSIGNED, SIGNED_TO_UNSIGNED
    zeros = zero_points(quant, shift)
    if zeros.ndim and (zeros == zeros[0]).all():
        zeros = zeros[0].reshape(())
    return scope.weight(values, codes.swapaxes(1, 2), form + TRANSPOSED), zeros


def _of_all_members(
    scope: Scope, layer: Node, members: int, matrices: onnx_ir.Value, zeros: Array
) -> onnx_ir.Value:
    """The products with every member: i32 [M, B, N]. The weights [K, M*N] are made at load."""
    writer, name = scope.writer, scope.name(layer.output)
    channels, inputs = layer.inputs[1].type.shape
    columns = writer.op("Transpose", matrices, out=f"{name}/columns", perm=(1, 0, 2))
    flat = writer.op("Reshape", columns, writer.ints(inputs, -1), out=f"{name}/all_matrices")
    if zeros.ndim:
        zeros = np.tile(zeros, members)
    x = scope.operand(layer.inputs[0], input_axes(layer))
    products = _product(scope, layer, x, flat, zeros)
    apart = writer.op("Reshape", products, writer.ints(-1, members, channels), out=f"{name}/each")
    return writer.op("Transpose", apart, out=f"{name}/members", perm=(1, 0, 2))


def _product(
    scope: Scope, layer: Node, x: onnx_ir.Value, matrix: onnx_ir.Value, zeros: Array
) -> onnx_ir.Value:
    writer, name = scope.writer, scope.name(layer.output)
    zero_x = writer.constant(quant_scalars(layer.inputs[0].type)[1])
    parts = (x, matrix, zero_x, writer.constant(zeros))
    return writer.op("MatMulInteger", *parts, out=f"{name}/products")
