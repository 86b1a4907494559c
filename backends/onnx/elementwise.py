"""Ops on single codes as ONNX nodes: sums, products, masks, tables and clamps."""

from __future__ import annotations

import numpy as np
import onnx_ir

from qbnnc.backends.onnx.fused_add import fused_ratios
from qbnnc.backends.onnx.requantize import clamp, quantize_float
from qbnnc.backends.onnx.scope import Scope, Write, quant_scalars
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Lookup,
    LookupReal,
    MultiplyInteger,
    Op,
    Select,
    SumOfProductsInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.sum_of_products import pairs
from qbnnc.ir.types import Array, Axes, DType, TensorType
from qbnnc.support.table import Table

WRITERS = Table[type[Op], Write]()

_TO_FLOAT, _TO_INT32 = int(onnx_ir.DataType.FLOAT), int(onnx_ir.DataType.INT32)
_ELEMENT = {DType.I8: int(onnx_ir.DataType.INT8), DType.I32: _TO_INT32}  # of weights and biases


@WRITERS.of(AddQuantized)
def add(scope: Scope, node: Node, op: AddQuantized) -> None:
    """Add between DQ and Q, which becomes a kernel on bytes, where that gives the same codes.

    Otherwise, and in an inline file, Sum(DQ, DQ) -> Q, which is never fused.
    """
    writer, name, axes = scope.writer, scope.name(node.output), node.output.type.axes
    x, y = node.inputs
    out = scope.result(node.output)
    inline = writer.inline
    ratios = None if inline else fused_ratios(op, codes_of(x.type), codes_of(y.type))
    if ratios is None:
        total = writer.op("Sum", scope.codes(x, axes), scope.codes(y, axes), out=f"{name}/sum")
        quantize_float(scope, node, total, out)
        return
    terms = [scope.codes(v, axes, ratio) for v, ratio in zip(node.inputs, ratios, strict=True)]
    total = writer.op("Add", *terms, out=f"{name}/sum")
    quantize_float(scope, node, total, out, scale=1)


@WRITERS.of(MultiplyInteger)
def multiply(scope: Scope, node: Node, op: MultiplyInteger) -> None:
    """(q_a - Z_a)(q_b - Z_b) in int32. Not a QDQ Mul, whose kernel rounds in its own way."""
    name, (values, apart) = scope.name(node.output), scope.aligned(node.inputs, _axes(node))
    factors = [
        _centred(scope, value, stored) for value, stored in zip(node.inputs, values, strict=True)
    ]
    product = scope.result(node.output)
    if not apart:
        scope.writer.op("Mul", *factors, out=product)
        return
    made = scope.writer.op("Mul", *factors, out=f"{name}/products")
    scope.layout.merge(made, node.output.type.shape, product)


@WRITERS.of(SumOfProductsInteger)
def sum_of_products(scope: Scope, node: Node, op: SumOfProductsInteger) -> None:
    """Each product in int32, times its factor and rounded in float32, which holds all of them."""
    writer, name, axes = scope.writer, scope.name(node.output), _axes(node)
    factors = op.factors(tuple(value.type for value in node.inputs))
    ends = [writer.constant(np.array(end, np.float32)) for end in (op.quant.low, op.quant.high)]
    terms = list[onnx_ir.Value]()
    for number, (pair, factor) in enumerate(zip(pairs(node.inputs), factors, strict=True)):
        operands = [_centred(scope, value, scope.operand(value, axes)) for value in pair]
        own = f"{name}/product{number}"
        product = writer.op("Mul", *operands, out=own)
        real = writer.op("Cast", product, out=f"{own}/float", to=_TO_FLOAT)
        step = writer.constant(np.array(factor, np.float32))
        scaled = writer.op("Mul", real, step, out=f"{own}/scaled")
        clipped = writer.op("Clip", scaled, *ends, out=f"{own}/clipped")
        terms.append(writer.op("Round", clipped, out=f"{own}/rounded"))
    total = terms[0]
    if len(terms) == 2:
        total = writer.op("Sum", *terms, out=f"{name}/sum")
        total = writer.op("Clip", total, *ends, out=f"{name}/clipped")
    writer.op("Cast", total, out=scope.result(node.output), to=_TO_INT32)


@WRITERS.of(Select)
def select(scope: Scope, node: Node, op: Select) -> None:
    """q * keep, or (q - Z) * keep + Z in wrapping integers of the codes' type where Z is not 0."""
    writer, name, out = scope.writer, scope.name(node.output), scope.result(node.output)
    (stored, keep), apart = scope.aligned(node.inputs, _axes(node))
    zero, selected = _zero_points(node.output.type), f"{name}/selected" if apart else out
    if node.output.type.dtype is not DType.U8:
        keep = writer.op("Cast", keep, out=f"{name}/keep", to=_ELEMENT[node.output.type.dtype])
    if not zero.any():
        made = writer.op("Mul", stored, keep, out=selected)
    else:
        shift = writer.constant(zero)
        centred = writer.op("Sub", stored, shift, out=f"{name}/centred")
        kept = writer.op("Mul", centred, keep, out=f"{name}/kept")
        made = writer.op("Add", kept, shift, out=selected)
    if apart:
        scope.layout.merge(made, node.output.type.shape, out)


@WRITERS.of(Lookup, LookupReal)
def look_up(scope: Scope, node: Node, op: Lookup | LookupReal) -> None:
    """table[q] by GatherElements on one axis, which is nine times faster than Gather."""
    writer, name, (q, table) = scope.writer, scope.name(node.output), node.inputs
    codes = scope.operand(q, _axes(node))
    flat = writer.op("Reshape", codes, writer.ints(-1), out=f"{name}/flat")
    index = writer.op("Cast", flat, out=f"{name}/index", to=_TO_INT32)
    found = writer.op("GatherElements", scope.stored(table), index, out=f"{name}/found", axis=0)
    scope.layout.merge(found, node.output.type.shape, scope.result(node.output))


@WRITERS.of(ClampCodes)
def clamp_codes(scope: Scope, node: Node, op: ClampCodes) -> None:
    """A Clip of codes that lie on the grid of the result already."""
    x = scope.operand(node.inputs[0], _axes(node))
    clamp(scope.writer, x, op.low, op.high, scope.result(node.output))


def _axes(node: Node) -> Axes:
    return node.output.type.axes


def _zero_points(type: TensorType) -> Array:
    """Z in the element type of the codes: a scalar, or one a channel that broadcasts."""
    quant = codes_of(type)
    if len(set(quant.zero_point)) == 1:
        return np.array(quant.zero_point[0], type.dtype.numpy)
    zeros: Array = quant.zero_point_array(len(type.shape)).astype(type.dtype.numpy)
    return zeros


def _centred(scope: Scope, value: Value, stored: onnx_ir.Value) -> onnx_ir.Value:
    """q - Z, i32."""
    writer, zero = scope.writer, quant_scalars(value.type)[1]
    wide = writer.op("Cast", stored, out=f"{scope.name(value)}/wide", to=_TO_INT32)
    if zero == 0:
        return wide
    shift = writer.constant(zero.astype(np.int32))
    return writer.op("Sub", wide, shift, out=f"{scope.name(value)}/centred")
