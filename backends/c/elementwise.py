"""Ops on single elements and on pooling windows."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import Buffer, real
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.values import (
    Held,
    Walk,
    broadcast_strides,
    factors_of,
    row_major,
    same_order,
    stored,
)
from qbnnc.ir.arithmetic import dequantize as dequantized
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops.activation import ClampCodes
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.dropout import KeepMask
from qbnnc.ir.ops.elementwise import AddQuantized
from qbnnc.ir.ops.pooling import MaxPool2d, SumPoolInteger
from qbnnc.ir.ops.quantize import QuantizeInput, Requantize
from qbnnc.ir.ops.shape import Reshape
from qbnnc.ir.ops.sum_of_products import SumOfProductsInteger, is_state, pairs
from qbnnc.ir.ops.unary import Lookup
from qbnnc.ir.ops.unpooling import MaxUnpool
from qbnnc.ir.types import Array


def read_input(node: Node, op: QuantizeInput, scope: Scope) -> None:
    """Quantise the caller's numbers."""
    shape, out = node.output.type.shape, scope.make(node.output)
    channels, plane = (shape[0], prod(shape[1:])) if shape else (1, 1)
    image = len(shape) == 3
    arrays = [scope.program.constants.array(v, "float") for v in (op.offset, op.scale)]
    record = scope.program.record(
        "qb_input",
        [
            *arrays,
            *(int(len(v) > 1) for v in (op.offset, op.scale)),
            channels,
            plane,
            *((1, channels) if image else (plane, 1)),
            codes_of(node.output.type).per_tensor[1],
            op.low,
            op.high,
        ],
    )
    scope.inputs.append((record, out))
    pointer = scope.input_pointer(node.inputs[0])
    scope.step(scope.phase(node.output), "error |= qb_read", record, pointer, out)


def keep_mask(node: Node, op: KeepMask, scope: Scope) -> None:
    """Draw a mask, in PyTorch's order."""
    held = scope.make(node.output, row_major(op.shape))
    key = f"qb_sample_key(st->seed, {op.stream}u, sample)"
    row = "0" if op.shared else "st->row"
    size = prod(op.shape)
    scope.step(
        scope.phase(node.output),
        "qb_keep", key, row, size, f"{op.threshold}u", f"{int(op.inverted)}u", held,
    )  # fmt: skip


def select(node: Node, scope: Scope) -> None:
    """Give dropped elements the code of zero."""
    x, mask = node.inputs
    if scope.layers_mask(node) is not None:
        return  # the layer that reads it subtracts what is dropped
    source, keep, phase = scope.held(x), scope.held(mask), scope.phase(node.output)
    strides = broadcast_strides(x.type.shape, mask.type.shape, keep.strides)
    walk = Walk(x.type.shape, strides, stored(x.type.shape))
    zero = scope.program.number(codes_of(x.type).per_tensor[1])
    count = walk.repeats()
    if count is not None:
        alone = scope.only_reader(x) is node and scope.phase(x) is phase
        own = source.in_buffer and not isinstance(scope.producers[x].op, Reshape)
        out = scope.hold(node.output, source) if alone and own else scope.make(node.output)
        scope.step(phase, "qb_drop", keep, count, source, x.type.size, zero, out)
        return
    out = scope.make(node.output)
    record = scope.program.record("qb_walk", walk.fields())
    scope.step(phase, "qb_select", record, keep, source, zero, out)


def requantize(node: Node, op: Requantize, scope: Scope) -> None:
    """Round accumulators to codes."""
    acc, out = scope.held(node.inputs[0]), scope.make(node.output)
    m = scope.graph.constants[node.inputs[1]]
    factors, divisor, count = factors_of(m, node.output.type.shape)
    zero = op.quant.per_tensor[1]
    record = _rounding(scope, factors, node.output, divisor, count, zero, op.low, op.high)
    scope.step(scope.phase(node.output), "qb_requantize_all", record, acc, out)


def dequantize(node: Node, scope: Scope) -> None:
    """Compute the numbers that codes or accumulators mean."""
    x = node.inputs[0]
    source, quant = scope.held(x), codes_of(x.type)
    scales = quant.scale_array(len(x.type.shape))
    factors, divisor, count = factors_of(scales, x.type.shape)
    zeros = {*quant.zero_point}
    if len(zeros) > 1:
        raise ValueError("zero points of channels")
    plain = same_order(x.type.shape, source.strides, row_major(x.type.shape))
    out = scope.make_real(node.output) if plain else _like(scope, node.output)
    zero = next(iter(zeros))
    record = _rounding(scope, factors, x, divisor, count, zero, 0, 0)
    function = "qb_reals" if source.ctype == "uint8_t" else "qb_reals_of_sums"
    if source.ctype != "uint8_t" and zero:
        raise ValueError("a zero point of accumulators")
    scope.step(scope.phase(node.output), function, record, source, out)
    if not plain:
        _reordered(scope, node.output, x.type.shape, source, out)


def look_up(node: Node, scope: Scope) -> None:
    """Look codes up in a table."""
    x, table = node.inputs
    source, phase = scope.held(x), scope.phase(node.output)
    entries = np.zeros(256, scope.graph.constants[table].dtype)
    entries[: len(scope.graph.constants[table])] = scope.graph.constants[table]
    if isinstance(node.op, Lookup):
        name = scope.program.pointer(entries, "uint8_t")
        scope.step(phase, "qb_look_up", name, source, x.type.size, scope.make(node.output))
        return
    name = scope.program.pointer(entries, "float")
    plain = same_order(x.type.shape, source.strides, row_major(x.type.shape))
    out = scope.make_real(node.output) if plain else _like(scope, node.output)
    scope.step(phase, "qb_look_up_reals", name, source, x.type.size, out)
    if not plain:
        _reordered(scope, node.output, x.type.shape, source, out)


def clamp(node: Node, op: ClampCodes, scope: Scope) -> None:
    """Clamp codes."""
    source, out = scope.held(node.inputs[0]), scope.make(node.output)
    low, high = scope.program.number(op.low), scope.program.number(op.high)
    size = node.output.type.size
    scope.step(scope.phase(node.output), "qb_clamp", source, size, low, high, out)


def add(node: Node, op: AddQuantized, scope: Scope) -> None:
    """Add two values, as numbers out of tables."""
    tables = []
    for value in node.inputs:
        scale, zero = codes_of(value.type).per_tensor
        codes = np.arange(256, dtype=np.int32)
        numbers = dequantized(codes, np.float32(scale), np.int32(zero))
        tables.append(scope.program.constants.array(numbers, "float"))
    scale, zero = op.quant.per_tensor
    fields = [*tables, real(scale), node.output.type.size, zero, op.low, op.high]
    record = scope.program.record("qb_sum", fields)
    a, b = (scope.held(value) for value in node.inputs)
    scope.step(scope.phase(node.output), "qb_add", record, a, b, scope.make(node.output))


def multiply(node: Node, scope: Scope) -> None:
    """Multiply codes; the smaller operand broadcasts."""
    shape, out, walks = node.output.type.shape, scope.make(node.output), []
    operands = list[Held | str]()
    for value in node.inputs:
        held = scope.held(value)
        strides = broadcast_strides(shape, value.type.shape, held.strides)
        walk = Walk(shape, strides, out.strides)
        walks.append(scope.program.record("qb_walk", walk.fields()))
        operands += [held, scope.program.number(codes_of(value.type).per_tensor[1])]
    scope.step(scope.phase(node.output), "qb_multiply", *walks, *operands, out)


def sum_of_products(node: Node, op: SumOfProductsInteger, scope: Scope) -> None:
    """Compute a carried state: one rounded product after the other."""
    scope.program.parts.add(Part.STATES)
    phase, out = scope.phase(node.output), scope.make(node.output)
    factors = op.factors(tuple(value.type for value in node.inputs))
    for number, ((a, b), factor) in enumerate(zip(pairs(node.inputs), factors, strict=True)):
        zeros = (codes_of(value.type).per_tensor[1] for value in (a, b))
        fields = [real(factor), node.output.type.size, *zeros, int(number > 0)]
        record = scope.program.record("qb_product", fields)
        function = "qb_add_state_products" if is_state(b.type) else "qb_add_products"
        scope.step(phase, function, record, scope.held(a), scope.held(b), out)


def pool(node: Node, op: MaxPool2d | SumPoolInteger, scope: Scope) -> None:
    """Take the maximum, or the sum, of each window."""
    (x,), y = node.inputs, node.output
    (c, h, w), (_, oh, ow) = x.type.shape, y.type.shape
    top, left, _, _ = op.padding
    is_sum = isinstance(op, SumPoolInteger)
    zero = codes_of(x.type).per_tensor[1] if is_sum else 0
    if x.type.dtype.value != "u8":
        raise ValueError("pooling of numbers")
    geometry = (h, w, c, *op.kernel, *op.stride, *op.dilation, top, left, oh, ow, zero)
    record = scope.program.record("qb_pool", geometry)
    function = "qb_sum_pool" if is_sum else "qb_max_pool"
    scope.step(scope.phase(y), function, record, scope.held(x), scope.make(y))


def unpool(node: Node, op: MaxUnpool, scope: Scope) -> None:
    """Put codes back at the first maximum of each window."""
    v, x = node.inputs
    if v.type.dtype.value != "u8":
        raise ValueError("unpooling of numbers")
    channels, height, width = v.type.shape
    fields = (height, width, channels, *op.kernel, codes_of(v.type).per_tensor[1])
    record = scope.program.record("qb_unpool", fields)
    scope.program.parts.add(Part.UNPOOLING)
    operands = scope.held(x), scope.held(v), scope.make(node.output)
    scope.step(scope.phase(node.output), "qb_max_unpool", record, *operands)


def _rounding(
    scope: Scope, factors: Array, value: Value, divisor: int, count: int, *ends: int
) -> str:
    array = scope.program.constants.array(factors, "float")
    return scope.program.record("qb_rounding", [array, value.type.size, divisor, count, *ends])


def _like(scope: Scope, value: Value) -> Held:
    """Make a buffer for numbers that are not in PyTorch's order yet."""
    return Held("{}", (), "float", Buffer("float", value.type.size))


def _reordered(
    scope: Scope, value: Value, shape: tuple[int, ...], source: Held, numbers: Held
) -> None:
    """Copy numbers in the order of `source` to PyTorch's."""
    out = scope.make_real(value)
    how = Walk(shape, source.strides, row_major(shape))
    record = scope.program.record("qb_walk", how.fields())
    scope.step(scope.phase(value), "qb_move_reals", record, numbers, out)
