"""Layers of whose weights a mask keeps some (DropConnect), and biases under a mask."""

from __future__ import annotations

from qbnnc.backends.c.ends import End
from qbnnc.backends.c.geometry import Geometry
from qbnnc.backends.c.lanes import Lanes
from qbnnc.backends.c.operands import record_of
from qbnnc.backends.c.parameters import Parameter
from qbnnc.backends.c.parts import Part
from qbnnc.backends.c.program import Buffer
from qbnnc.backends.c.sampled import plain_bias
from qbnnc.backends.c.scope import Scope
from qbnnc.backends.c.values import Held, Walk, broadcast_strides, stored
from qbnnc.ir.graph import Node
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import Conv2dInteger, LinearInteger


def emit(
    node: Node, geometry: Geometry, end: End, weight: Parameter, select: Node, scope: Scope
) -> None:
    """Emit a layer that drops elements of its weight on the way.

    No weight is stored: a linear layer takes what is kept at once, and a convolution makes one
    filter after the other, as of sampled weights.
    """
    assert isinstance(node.op, Conv2dInteger | LinearInteger)
    conv = record_of(node, geometry, end, weight.codes, weight, scope)
    x, phase = scope.held(node.inputs[0]), scope.phase(end.value)
    zero = 0 if node.op.folded else codes_of(node.inputs[0].type).per_tensor[1]
    mask, place = _mask(select, zero, scope)
    bias = plain_bias(node.inputs[2], scope)
    scope.program.parts.add(Part.DROPPED)
    common = conv, mask, end.record, bias, *place, x
    if isinstance(node.op, LinearInteger):
        scope.step(phase, "qb_linear_dropped", *common, end.out)
        return
    copy = scope.scratch("uint8_t", geometry.gathered)
    filter_ = Buffer("int16_t", geometry.taps)
    scope.step(phase, "qb_convolve_dropped", *common, copy, filter_, end.out)


def _mask(select: Node, zero: int, scope: Scope) -> tuple[str, tuple[str | Held, ...]]:
    """The record of a mask; and its key, its row, and its place if a step has drawn it."""
    lanes = scope.lanes.get(select)
    if lanes is None:
        return _drawn(select, zero, scope)
    key = f"qb_sample_key(st->seed, {lanes.op.stream}u, sample)"
    row = "0" if lanes.op.shared else "st->row"
    return _record(lanes, zero, scope), (key, row, "NULL")


def _drawn(select: Node, zero: int, scope: Scope) -> tuple[str, tuple[str | Held, ...]]:
    weight, value = select.inputs
    mask = scope.held(value)
    strides = broadcast_strides(weight.type.shape, value.type.shape, mask.strides)
    fields = 0, "0u", "0u", 0, *strides, *[0] * (4 - len(strides)), zero
    return scope.program.record("qb_dropping", fields), ("0", "0", mask)


def _record(lanes: Lanes, zero: int, scope: Scope) -> str:
    op = lanes.op
    fields = (
        f"{lanes.size}u",
        f"{op.threshold}u",
        f"{int(op.inverted)}u",
        lanes.start,
        *lanes.strides,
        zero,
    )
    return scope.program.record("qb_dropping", fields)


def drop_bias(node: Node, scope: Scope) -> None:
    """Give dropped elements of a bias the code of zero."""
    x, mask = node.inputs
    source, keep = scope.held(x), scope.held(mask)
    strides = broadcast_strides(x.type.shape, mask.type.shape, keep.strides)
    record = scope.program.record(
        "qb_walk", Walk(x.type.shape, strides, stored(x.type.shape)).fields()
    )
    zeros = {*codes_of(x.type).zero_point}
    if len(zeros) > 1:
        raise ValueError("zero points of single elements of a bias")
    zero = scope.program.number(next(iter(zeros)))
    scope.program.parts.add(Part.BIASES)
    out = scope.make(node.output)
    scope.step(scope.phase(node.output), "qb_select_sums", record, keep, source, zero, out)
