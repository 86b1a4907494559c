"""The lowering of dropout masks."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import KeepMask, Select
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import PER_ROW_AND_SAMPLE, DType
from qbnnc.runtime.families.dropout import instructions as ins
from qbnnc.runtime.families.moves.lowering import broadcast
from qbnnc.runtime.families.parameters import in_memory
from qbnnc.runtime.layout import CODES, broadcast_steps, grid, round_up, same_order
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()
LARGEST_LANE = int(np.iinfo(np.uint16).max)


@LOWERINGS.of(KeepMask)
def keep_mask(lowering: Lowering, node: Node, op: KeepMask) -> None:
    """Emit a mask, unless a Drop makes it together with the codes that it drops."""
    if _dropped_with_codes(lowering, node, op):
        return
    pixels, channels = grid(op.shape)
    words = -(-pixels * channels // 4)
    instruction = ins.KeepMask(
        output=lowering.made(node.output),
        scratch=lowering.scratch(node, 8 * words + pixels * channels),
        stream=op.stream,
        threshold=least_kept(op),
        flip=lanes_flipped(op),
        shared=op.shared,
        channels=channels,
        pixels=pixels,
    )
    lowering.emit(node, instruction)


@LOWERINGS.of(Select)
def select(lowering: Lowering, node: Node, op: Select) -> None:
    """Emit masked codes of an activation; a weight or bias is emitted where a layer reads it."""
    if node.output.type.dtype is not DType.U8:
        in_memory(lowering, node)
        return
    maker = lowering.producer(node.inputs[1])
    if (
        maker is not None
        and isinstance(maker.op, KeepMask)
        and _dropped_with_codes(lowering, maker, maker.op)
    ):
        _drop(lowering, node, maker.op)
        return
    shape, mask = node.output.type.shape, lowering.buffer(node, 1)
    found = broadcast_steps((node.inputs[1].type.shape,), shape)
    if found is None:
        mask, found = broadcast(lowering, node, 1, shape), broadcast_steps((shape,), shape)
        assert found is not None
    (height, width, channels), ((step_y, step_x, step_channel),) = found
    instruction = ins.Select(
        output=lowering.made(node.output, CODES),
        input=lowering.codes(node, 0),
        mask=mask,
        zero=codes_of(node.inputs[0].type).per_tensor[1],
        height=height,
        width=width,
        channels=channels,
        step_y=step_y,
        step_x=step_x,
        step_channel=step_channel,
    )
    lowering.emit(node, instruction)


def _dropped_with_codes(lowering: Lowering, mask: Node, op: KeepMask) -> bool:
    """Tell whether a Select alone reads a mask, in the order in which its lanes are drawn."""
    reader = lowering.only_reader(mask.output)
    return (
        not lowering.traced
        and reader is not None
        and isinstance(reader.op, Select)
        and reader.output.type.dtype is DType.U8
        and reader.output.type.shape == op.shape
        and reader.output.type.axes == mask.output.type.axes == PER_ROW_AND_SAMPLE
        and same_order(op.shape)
        and least_kept(op) <= LARGEST_LANE
    )


def _drop(lowering: Lowering, node: Node, op: KeepMask) -> None:
    size = node.output.type.size
    instruction = ins.Drop(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        scratch=lowering.scratch(node, 2 * round_up(size, CODES)),
        stream=op.stream,
        threshold=least_kept(op),
        flip=lanes_flipped(op),
        zero=codes_of(node.inputs[0].type).per_tensor[1],
        size=size,
    )
    lowering.emit(node, instruction)


def lanes_flipped(op: KeepMask) -> int:
    """Return the bits of a lane to flip.

    An inverted mask keeps lane < t, which is 65535 - lane >= 65536 - t. The number 65535 - lane is
    lane ^ 65535.
    """
    return LARGEST_LANE if op.inverted else 0


def least_kept(op: KeepMask) -> int:
    """Return the least value of lane ^ flip that is kept."""
    return LARGEST_LANE + 1 - op.threshold if op.inverted else op.threshold
