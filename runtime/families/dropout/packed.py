"""Weights and biases under a mask (DropConnect) in the layouts that layers read."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops.base import codes_of
from qbnnc.runtime.families.dropout.instructions import DropWeight
from qbnnc.runtime.layout import positions
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import Layout
from qbnnc.runtime.program import Buffer

_FOUR_TIMES = 0x01010101  # a byte, as the bytes of an int32


def dropped(
    lowering: Lowering, node: Node, whole: Buffer, layout: Layout, output: Buffer
) -> DropWeight:
    """Return the instruction that drops elements of `whole`, a parameter in a layout."""
    shape, mask = node.output.type.shape, node.inputs[1].type.shape
    item, add = node.output.type.dtype.numpy.itemsize, lowering.constants.add
    places = np.broadcast_to(positions(mask), shape).astype(np.int32)
    found = layout.split_places(layout.rows(places))
    assert found is not None  # the mask broadcasts, in row-major order or element by element
    rows, columns = found
    zeros = np.broadcast_to(codes_of(node.output.type).zero_point_array(len(shape)), shape)
    codes = (layout.rows(zeros)[..., 0] & 255).astype(np.uint32) * np.uint32(_FOUR_TIMES)
    return DropWeight(
        output=output,
        input=whole,
        mask=lowering.buffer(node, 1),
        rows=add(np.repeat(rows, item)),
        columns=add(layout.pack_channels(columns, int(columns[0, 0]))),
        zeros=add(layout.pack_channels(codes)),
        groups=layout.groups,
        padded=layout.padded,
        depth=item * layout.depth,
        block=layout.block,
        step=item * layout.step,
    )
