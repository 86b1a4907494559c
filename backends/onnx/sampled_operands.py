"""Operands of a layer whose weight or bias is sampled.

Values here are [L, B, *shape], with 1 in place of L or B where a value lacks it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.contraction import (
    SIGNED_TO_UNSIGNED,
    input_axes,
    is_sampled,
    may_saturate,
)
from qbnnc.backends.onnx.names import BIAS
from qbnnc.backends.onnx.scope import Scope
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import ContractionInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.support.errors import CompileError

_TO_UINT8 = int(onnx_ir.DataType.UINT8)


def is_sampled_layer(node: Node) -> bool:
    """Whether every sample has accumulators of its own because of a weight or bias."""
    layer = isinstance(node.op, ContractionInteger)
    return layer and any(is_sampled(value) for value in node.inputs[1:])


def refuse_folded(node: Node) -> None:
    """Raise CompileError where offline terms are in a bias: a sampled weight has none."""
    assert isinstance(node.op, ContractionInteger)
    if node.op.folded:
        raise CompileError("a sampled layer whose offline terms are folded", node.loc)


def rows(scope: Scope, node: Node) -> onnx_ir.Value:
    """The input of a layer as it is stored, with its one leading axis."""
    return scope.operand(node.inputs[0], input_axes(node))


def weight_codes(scope: Scope, node: Node, *, unsigned: bool) -> tuple[onnx_ir.Value, int]:
    """Sampled weights [L, *shape]: i8 and shift 0, or u8 and 128.

    u8 if `unsigned` or if their products could saturate (docs/semantics.md, section 3).
    """
    weight, writer = node.inputs[1], scope.writer
    codes, quant = scope.stored(weight), codes_of(weight.type)
    if not unsigned and not may_saturate(codes_of(node.inputs[0].type), quant):
        return codes, 0
    name = f"{scope.name(node.output)}/weight"
    wrapped = writer.op("Cast", codes, out=f"{name}/wrapped", to=_TO_UINT8)
    half = writer.constant(np.array(SIGNED_TO_UNSIGNED, np.uint8))
    return writer.op("Add", wrapped, half, out=f"{name}/unsigned"), SIGNED_TO_UNSIGNED


def bias_codes(scope: Scope, node: Node) -> onnx_ir.Value:
    """The bias, i32 [L, 1, O, ...]; a constant one is [O, ...]."""
    bias, writer, ones = node.inputs[2], scope.writer, (1,) * (len(node.output.type.shape) - 1)
    name = f"{scope.name(node.output)}{BIAS}"
    if not is_sampled(bias):
        return scope.bias(node, scope.constant(bias, node).reshape(-1, *ones))
    shape = writer.ints(-1, 1, *bias.type.shape, *ones)
    return writer.op("Reshape", scope.stored(bias), shape, out=name)
