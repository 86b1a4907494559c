"""Linear layers that compute with all constants to choose from, and then choose.

Their weights are constant, so that onnxruntime packs them when it loads the file. Weights that are
gathered first are packed in every run: that takes two to four times as long.
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
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Choice, LinearInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Axis


def chosen_after(scope: Scope, choice: Node) -> bool:
    """Whether the layer that reads a choice computes with all members.

    It is a linear layer, and the only reader. Its input does not vary with the sample, and there
    are no more members than samples. In an inline file each sample has weights of its own.
    """
    layer = scope.graph.only_reader(choice.output)
    if layer is None or not isinstance(layer.op, LinearInteger) or scope.writer.inline:
        return False
    if layer.inputs[1] is not choice.output or Axis.SAMPLE in input_axes(layer):
        return False
    return choice.inputs[0].type.shape[0] <= scope.layout.samples


def choice_after(scope: Scope, layer: Node) -> Node | None:
    """The choice of a layer's weight that is made after its products; None if there is none."""
    made = scope.graph.producers().get(layer.inputs[1])
    chosen = made is not None and isinstance(made.op, Choice) and chosen_after(scope, made)
    return made if chosen else None


def write_products(scope: Scope, layer: Node, choice: Node) -> onnx_ir.Value:
    """sum (q_x - Z_x)(q_w - Z_w) of the chosen members: i32 [L, B, N]."""
    writer, name = scope.writer, scope.name(layer.output)
    (values, index), shape = choice.inputs, choice.output.type.shape
    apart = writer.ints(-1, values.type.shape[0], shape[0])
    every = writer.op("Reshape", _of_all_members(scope, layer, choice), apart, out=f"{name}/each")
    members = writer.op("Transpose", every, out=f"{name}/members", perm=(1, 0, 2))
    numbers = writer.op("Reshape", scope.stored(index), writer.ints(-1), out=f"{name}/numbers")
    return writer.op("Gather", members, numbers, out=f"{name}/chosen", axis=0)


def _of_all_members(scope: Scope, layer: Node, choice: Node) -> onnx_ir.Value:
    """The products with every member: i32 [B, M*N]."""
    writer, x, values = scope.writer, layer.inputs[0], choice.inputs[0]
    quant, codes = codes_of(layer.inputs[1].type), scope.constant(values, choice)
    wide = may_saturate(codes_of(x.type), quant)
    codes = (unsigned(codes) if wide else codes).reshape(-1, codes.shape[-1])
    form = UNSIGNED if wide else ""
    matrix = scope.weight(values, codes.T, form + TRANSPOSED)
    zeros = zero_points(quant, SIGNED_TO_UNSIGNED if wide else 0)
    if zeros.ndim:
        zeros = np.tile(zeros, values.type.shape[0])
    parts = (
        scope.operand(x, input_axes(layer)),
        matrix,
        writer.constant(quant_scalars(x.type)[1]),
        writer.constant(zeros),
    )
    return writer.op("MatMulInteger", *parts, out=f"{scope.name(layer.output)}/products")
