"""What looks at one element at a time, and what is drawn for it, as instructions."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import AddQuantized, ClampCodes, KeepMask, Select
from qbnnc.ir.ops import Requantize as RequantizeOp
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import PER_ROW_AND_SAMPLE
from qbnnc.runtime import instructions as ins
from qbnnc.runtime.layout import broadcast_steps, grid, round_up, same_order
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.lowering.moves import broadcast, leaving
from qbnnc.runtime.packing import CODES
from qbnnc.runtime.program import Buffer
from qbnnc.support.errors import CompileError

_LANE = int(np.iinfo(np.uint16).max)
_BYTES = 256  # that there are


def add(lowering: Lowering, node: Node, op: AddQuantized) -> None:
    types = [codes_of(value.type) for value in node.inputs] + [op.quant]
    if any(quant.axis is not None for quant in types):
        raise CompileError("the runtime adds codes of one scale each", node.loc)
    (a_scale, a_zero), (b_scale, b_zero), (scale, zero) = (quant.per_tensor for quant in types)
    instruction = ins.Add(
        output=lowering.made(node.output),
        a=lowering.codes(node, 0),
        b=lowering.codes(node, 1),
        scales=lowering.constants.add(np.array([a_scale, b_scale, scale], np.float32)),
        a_zero=a_zero,
        b_zero=b_zero,
        zero=zero,
        low=op.low,
        high=op.high,
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


def multiply(lowering: Lowering, node: Node) -> None:
    """With the Requantize that follows, if it is the only reader and has one multiplier."""
    shape, zeros = node.output.type.shape, [codes_of(v.type).per_tensor[1] for v in node.inputs]
    buffers = [lowering.codes(node, index) for index in (0, 1)]
    shapes = tuple(value.type.shape for value in node.inputs)
    found = broadcast_steps(shapes, shape)
    if found is None:
        buffers = [broadcast(lowering, node, index, shape) for index in (0, 1)]
        found = broadcast_steps((shape, shape), shape)
        assert found is not None
    extents, (a_steps, b_steps) = found
    requantize = _requantized_by_one(lowering, node)
    op, output, factor = requantize or (None, lowering.made(node.output), 0)
    instruction = ins.Multiply(
        output=output,
        a=buffers[0],
        b=buffers[1],
        requantize=op is not None,
        factor=factor,
        a_zero=zeros[0],
        b_zero=zeros[1],
        zero=0 if op is None else op.quant.per_tensor[1],
        low=0 if op is None else op.low,
        high=0 if op is None else op.high,
        height=extents[0],
        width=extents[1],
        channels=extents[2],
        a_step_y=a_steps[0],
        a_step_x=a_steps[1],
        a_step_channel=a_steps[2],
        b_step_y=b_steps[0],
        b_step_x=b_steps[1],
        b_step_channel=b_steps[2],
    )
    lowering.emit(node, instruction)


def _requantized_by_one(lowering: Lowering, node: Node) -> tuple[RequantizeOp, Buffer, int] | None:
    """Take the reader in: (op, its output, its multiplier)."""
    reader = lowering.only_reader(node.output)
    if reader is None or not isinstance(reader.op, RequantizeOp):
        return None
    factor = lowering.graph.constants.get(reader.inputs[1])
    if factor is None or (factor != factor.flat[0]).any():
        return None
    lowering.take_in(reader)
    first = lowering.constants.add(factor.reshape(-1)[:1])
    return reader.op, lowering.made(reader.output), first


def clamp(lowering: Lowering, node: Node, op: ClampCodes) -> None:
    instruction = ins.Clamp(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        low=op.low,
        high=op.high,
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


def lookup(lowering: Lowering, node: Node) -> None:
    instruction = ins.Lookup(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        table=_table(lowering, node),
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


def _table(lowering: Lowering, node: Node) -> int:
    """An entry for every byte, so that none leads beyond the table."""
    table = lowering.constant(node, 1, "table").reshape(-1)
    return lowering.constants.add(np.pad(table, (0, _BYTES - table.size), mode="edge"))


def lookup_real(lowering: Lowering, node: Node) -> None:
    """One instruction for each output that this is, perhaps moved."""
    table = _table(lowering, node)
    lowering.codes(node, 0)
    for output in lowering.outputs_of(node.output):
        source, pixels, channels = leaving(lowering, node, output)
        instruction = ins.LookupReal(
            output=output.buffer, input=source, table=table, pixels=pixels, channels=channels
        )
        lowering.emit(node, instruction)


def keep_mask(lowering: Lowering, node: Node, op: KeepMask) -> None:
    """With the codes that it drops, if a Select alone reads it and both are in the same order."""
    if _dropped_with_codes(lowering, node, op):
        return
    pixels, channels = grid(op.shape)
    words = -(-pixels * channels // 4)
    instruction = ins.KeepMask(
        output=lowering.made(node.output),
        scratch=lowering.scratch(node, 8 * words + pixels * channels),
        stream=op.stream,
        threshold=_least_kept(op),
        flip=_flip(op),
        shared=op.shared,
        channels=channels,
        pixels=pixels,
    )
    lowering.emit(node, instruction)


def _dropped_with_codes(lowering: Lowering, mask: Node, op: KeepMask) -> bool:
    reader = lowering.only_reader(mask.output)
    return (
        not lowering.traced
        and reader is not None
        and isinstance(reader.op, Select)
        and reader.output.type.shape == op.shape
        and reader.output.type.axes == mask.output.type.axes == PER_ROW_AND_SAMPLE
        and same_order(op.shape)
        and _least_kept(op) <= _LANE
    )


def _flip(op: KeepMask) -> int:
    """lane < t is 65535 - lane >= 65536 - t, and 65535 - lane is lane ^ 65535."""
    return _LANE if op.inverted else 0


def _least_kept(op: KeepMask) -> int:
    """The least of lane ^ flip that is kept."""
    return _LANE + 1 - op.threshold if op.inverted else op.threshold


def _drop(lowering: Lowering, node: Node, op: KeepMask) -> None:
    size = node.output.type.size
    instruction = ins.Drop(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        scratch=lowering.scratch(node, 2 * round_up(size, CODES)),
        stream=op.stream,
        threshold=_least_kept(op),
        flip=_flip(op),
        zero=codes_of(node.inputs[0].type).per_tensor[1],
        size=size,
    )
    lowering.emit(node, instruction)


def select(lowering: Lowering, node: Node) -> None:
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
