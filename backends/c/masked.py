"""Layers behind dropout: the sums of all inputs, less those of what a sample drops."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.backends.c.ends import End
from qbnnc.backends.c.geometry import Geometry
from qbnnc.backends.c.operands import by_fours, filled_up, offset_of, record_of, wrapped
from qbnnc.backends.c.parameters import Parameter
from qbnnc.backends.c.program import Buffer
from qbnnc.backends.c.scope import Form, Scope
from qbnnc.backends.c.traits import Trait
from qbnnc.backends.c.values import Held
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger


def emit_masked(
    node: Node, geometry: Geometry, end: End, select: Node, weight: Parameter, scope: Scope
) -> None:
    """Emit a layer that subtracts what the dropout `select` before it takes."""
    x, keep = scope.held(select.inputs[0]), scope.held(select.inputs[1])
    phase, once = scope.phase(end.value), scope.phase(select.inputs[0])
    o, oh, ow = geometry.output
    if isinstance(node.op, LinearInteger):
        record = record_of(node, geometry, end, weight.codes[0].T, weight, scope)
        offset = offset_of(node, weight, scope)
        sums, acc = Buffer("int32_t", o), Buffer("int32_t", o)
        scope.step(once, "qb_linear_sums", record, offset, x, sums)
        scope.step(phase, "qb_linear_masked", record, x, keep, sums, acc)
        scope.step(phase, "qb_finish", end.record, acc, o, 0, 0, end.out)
        return
    # Parts count codes from Z_x, and so the sums begin with what codes of Z_x give.
    channels, taps = geometry.image[0], prod(geometry.kernel)
    codes = weight.codes[0]
    ordered = filled_up(codes.transpose(1, 0, 2, 3), taps)
    record = record_of(node, geometry, end, ordered, weight, scope)
    zero = codes_of(node.inputs[0].type).per_tensor[1]
    assert isinstance(node.op, Conv2dInteger)
    folded = zero * codes.astype(np.int64).sum(axis=(1, 2, 3)) if node.op.folded else 0
    bias = scope.graph.constants[node.inputs[2]]
    base = scope.program.pointer(wrapped(bias + folded), "int32_t")
    sums, table = Buffer("int32_t", o * oh * ow), channels * o * oh * ow
    scope.masked[node.output.name] = 4 * table
    # Two patches of 16 bits, and the codes of one.
    first, later = (Buffer("int16_t", 5 * by_fours(taps) // 2) for _ in range(2))
    recomputed: tuple[Held | Buffer | str, ...] = x, "NULL", later
    cached = scope.forms.form(node.output.name) is Form.CACHED
    scope.program.traits.add(Trait.TABLES if cached else Trait.RECOMPUTED)
    if cached:
        recomputed = "NULL", Buffer("int32_t", table), "NULL"
    scope.step(once, "qb_conv_sums", record, base, x, first, sums, recomputed[1])
    dropped = Buffer("int32_t", channels)
    acc = Buffer("int32_t", (3 if prod(end.window) > 1 else 2) * o)
    arguments = record, end.record, keep, dropped, sums, *recomputed, acc, end.out
    scope.step(phase, "qb_conv_masked", *arguments)
