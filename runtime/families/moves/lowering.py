"""The lowering of reshapes, moves and concatenations."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Concat, Move, Reshape
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import DType
from qbnnc.runtime.families.moves import instructions as ins
from qbnnc.runtime.layout import ALIGNMENT, grid, positions, round_up, same_order, to_memory
from qbnnc.runtime.lowering import Leaving, Lower, Lowering
from qbnnc.runtime.program import Buffer
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(Reshape)
def reshape(lowering: Lowering, node: Node, op: Reshape) -> None:
    """Name the buffer anew if nothing moves in memory; else transpose.

    Images of as many channels have their pixels in one order, whatever their height is.
    """
    source, target = node.inputs[0].type.shape, node.output.type.shape
    if node.output.type.dtype is DType.F32:
        return
    buffer = lowering.buffer(node, 0)
    if source == target or (len(source) == len(target) == 3 and source[0] == target[0]):
        lowering.buffers[node.output] = buffer
        return
    item = node.output.type.dtype.numpy.itemsize
    if not same_order(source):
        flat = lowering.new_buffer(node.output)
        rows, columns = grid(source)
        lowering.emit(node, ins.Transpose(output=flat, input=buffer, rows=rows, columns=columns,
                                          item=item))  # fmt: skip
        buffer = flat
    if not same_order(target):
        columns, rows = grid(target)
        image = lowering.new_buffer(node.output)
        lowering.emit(node, ins.Transpose(output=image, input=buffer, rows=rows, columns=columns,
                                          item=item))  # fmt: skip
        buffer = image
    lowering.buffers[node.output] = buffer


@LOWERINGS.of(Move)
def move(lowering: Lowering, node: Node, op: Move) -> None:
    """Name the buffer anew if nothing moves in memory; else gather.

    The instruction that writes an output moves float32 numbers.
    """
    x, made = node.inputs[0].type, node.output
    if made.type.dtype is DType.F32:
        return
    source, buffer = op.source_of(x.shape), lowering.buffer(node, 0)
    places = np.where(source < 0, -1, positions(x.shape).reshape(-1)[source])
    index = to_memory(places, made.type.shape).reshape(-1)
    if np.array_equal(index, np.arange(x.size)):
        lowering.buffers[made] = buffer
        return
    new = bool((index < 0).any()) and x.dtype is DType.U8
    fill, item = codes_of(x).per_tensor[1] if new else 0, x.dtype.numpy.itemsize
    lowering.emit(node, gather(lowering, lowering.made(made), buffer, index, item, fill))


def gather(
    lowering: Lowering,
    output: Buffer,
    source: Buffer,
    index: NDArray[np.int64],
    item: int,
    fill: int = 0,
) -> ins.Gather:
    """Make a Gather: element i is element index[i] of the source, or `fill` if that is -1."""
    run = _run(index)
    return ins.Gather(
        output=output,
        input=source,
        index=lowering.constants.add(index[::run].astype(np.int32)),
        count=index.size // run,
        run=run,
        item=item,
        fill=fill % 256 if item == 1 else fill,
    )


def leaving(lowering: Lowering, node: Node, output: Leaving) -> tuple[Buffer, int, int]:
    """Bring a node's input into the order of an output; return (buffer, pixels, channels)."""
    value, source = node.inputs[0], lowering.buffer(node, 0)
    if output.order is None:
        return source, *grid(value.type.shape)
    places, item = positions(value.type.shape).reshape(-1), value.type.dtype.numpy.itemsize
    count = output.order.size
    stride = round_up(count * item, ALIGNMENT)
    moved = replace(lowering.new_buffer(value), name=f"{value.name} leaving", stride=stride)
    lowering.emit(node, gather(lowering, moved, source, places[output.order], item))
    return moved, 1, count


def _run(index: NDArray[np.int64]) -> int:
    """Return the length of the greatest runs of neighbours, or of -1, that make up the index."""
    before, after = index[:-1], index[1:]
    goes_on = np.where(before < 0, after < 0, after == before + 1)
    breaks = np.flatnonzero(~goes_on) + 1
    return int(np.gcd.reduce(np.append(breaks, index.size)))


def broadcast(lowering: Lowering, node: Node, index: int, shape: tuple[int, ...]) -> Buffer:
    """Broadcast an input to this shape."""
    value = node.inputs[index]
    source = np.broadcast_to(positions(value.type.shape), shape)
    item = value.type.dtype.numpy.itemsize
    stride = round_up(prod(shape) * item, ALIGNMENT)
    repeated = replace(lowering.new_buffer(value), stride=stride)
    flat = to_memory(source, shape).reshape(-1)
    lowering.emit(node, gather(lowering, repeated, lowering.buffer(node, index), flat, item))
    return repeated


@LOWERINGS.of(Concat)
def concat(lowering: Lowering, node: Node, op: Concat) -> None:
    """Copy each input to its place; three axes lie in the order (1, 2, 0)."""
    output, shape = lowering.made(node.output), node.output.type.shape
    item, first = node.output.type.dtype.numpy.itemsize, 0
    order = (1, 2, 0) if len(shape) == 3 else tuple(range(len(shape)))
    place = order.index(op.axis)
    outer = prod(shape[axis] for axis in order[:place])
    inner = item * prod(shape[axis] for axis in order[place + 1 :])
    for index, value in enumerate(node.inputs):
        run = value.type.shape[op.axis] * inner
        instruction = ins.Copy(
            output=output,
            input=lowering.buffer(node, index),
            first=first,
            count=outer,
            run=run,
            step=shape[op.axis] * inner,
        )
        lowering.emit(node, instruction)
        first += run
