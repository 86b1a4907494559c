"""The lowering of a softmax."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import SoftmaxInteger
from qbnnc.ir.ops.softmax import option_places
from qbnnc.ir.types import DType
from qbnnc.runtime.families.softmax import instructions as ins
from qbnnc.runtime.layout import broadcast_steps, to_memory
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()
_Option = tuple[int, int, int, int]  # place in the constants, and steps along y, x and the row


@LOWERINGS.of(SoftmaxInteger)
def softmax(lowering: Lowering, node: Node, op: SoftmaxInteger) -> None:
    x, shape = node.inputs[0].type, node.output.type.shape
    table = lowering.constant(node, 1, "table")
    places = option_places([value.type for value in node.inputs])
    mask, bias = (_option(lowering, node, place, shape) for place in places)
    height, width, length, step_y, step = rows_of(shape)
    instruction = ins.Softmax(
        output=lowering.made(node.output),
        input=lowering.buffer(node, 0),
        scratch=lowering.scratch(node, 4 * length),
        wide=x.dtype is DType.I32,
        height=height,
        width=width,
        length=length,
        step_y=step_y,
        step=step,
        table=lowering.constants.add(table),
        entries=table.size,
        factors=lowering.constants.add(np.array([op.inverse_scale, op.multiplier], np.float32)),
        mask=mask[0],
        mask_step_y=mask[1],
        mask_step_x=mask[2],
        mask_step=mask[3],
        bias=bias[0],
        bias_step_y=bias[1],
        bias_step_x=bias[2],
        bias_step=bias[3],
        zero=op.quant.per_tensor[1],
        low=op.low,
        high=op.high,
    )
    lowering.emit(node, instruction)


def rows_of(shape: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Return (height, width, length, step_y, step) of the rows along the last axis in memory."""
    if len(shape) == 3:
        channels, height, length = shape
        return height, channels, length, length * channels, channels
    return prod(shape[:-1]), 1, shape[-1], shape[-1], 1


def _option(lowering: Lowering, node: Node, place: int | None, shape: tuple[int, ...]) -> _Option:
    """Store a mask or a bias in the order of memory; one of no image has an element for each."""
    if place is None:
        return -1, 0, 0, 0
    array = lowering.constant(node, place, "mask and bias")
    found = broadcast_steps((array.shape, shape), shape) if len(shape) == 3 else None
    if found is None:
        flat = np.broadcast_to(array, shape).reshape(-1, shape[-1])
        same = bool((flat == flat[:1]).all())
        flat = np.ascontiguousarray(flat[:1] if same else flat)
        return lowering.constants.add(flat), 0 if same else shape[-1], 0, 1
    _, ((y, row, channel), _) = found
    if array.shape == shape:  # one step for all elements
        y, row, channel = shape[2] * shape[0], shape[0], 1
    return lowering.constants.add(to_memory(array, array.shape)), y, channel, row
