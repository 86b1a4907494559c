"""Which convolutions are done by Winograd's F(2x2, 3x3), and their instruction."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Conv2dInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.weights import channel_sums
from qbnnc.runtime.families.contraction import costs
from qbnnc.runtime.families.contraction.epilogue import common, extents, requantized
from qbnnc.runtime.families.contraction.instructions import Winograd
from qbnnc.runtime.families.contraction.kernels.products import WORD_PRODUCTS
from qbnnc.runtime.families.contraction.kernels.winograd import scratch_bytes, spread_pitch
from qbnnc.runtime.families.sampled_weights.lowering import operand
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import PANEL, Layout

_BYTES = 256 << 10  # of v and m at a time: v is read once for each panel, m written and read
_LEAST_TILES, _ROWS = 84, 6  # so that weights are not read too often; of the microkernel
_IMAGES = 16  # for which there is room at least
_ROWS_OF_A_SAMPLE = 4  # that share sampled weights: one row loses little, many gain much


def applies(lowering: Lowering, node: Node, geometry: Conv2dInteger) -> bool:
    """Whether the form exists for a layer: the sums are four times what they are without it."""
    if requantized(lowering, node) is None:
        return False
    filters, channels, *kernel = node.inputs[1].type.shape
    largest = codes_of(node.inputs[0].type).high * _largest_sum(lowering, node.inputs[1])
    return (
        kernel == [3, 3]
        and (geometry.stride, geometry.dilation, geometry.groups) == ((1, 1), (1, 1), 1)
        and channels % PANEL == filters % PANEL == 0
        and not any(codes_of(node.inputs[1].type).zero_point)
        and 4 * largest <= np.iinfo(np.int32).max
    )


def _largest_sum(lowering: Lowering, weight: Value) -> int:
    """Of the sizes of one output channel's weights, or of what they may be if they are sampled."""
    array = lowering.graph.constants.get(weight)
    if array is None:
        quant = codes_of(weight.type)
        return max(-quant.low, quant.high) * prod(weight.type.shape[1:])
    return int(channel_sums(array, np.zeros(1, np.int32)).size.max())


def wins(lowering: Lowering, node: Node, geometry: Conv2dInteger, steps: int) -> bool:
    """Whether it applies and takes less time than the direct form."""
    if chosen() not in WORD_PRODUCTS or not applies(lowering, node, geometry):
        return False
    layer = _layer(lowering, node)
    return costs.winograd(layer, tiles_at_once(layer)) < costs.direct(layer, steps)


def tiles_at_once(layer: costs.Layer) -> int:
    """A multiple of the microkernel's rows, no more than there are."""
    room = _BYTES // (2 * 16 * layer.channels + 4 * 16 * PANEL)
    needed = max(layer.copies, _IMAGES) * layer.tiles
    return round_up(min(max(_LEAST_TILES, room), needed), _ROWS)


def _layer(lowering: Lowering, node: Node) -> costs.Layer:
    """In a prediction for one row, or for a few if each sample has its own weights."""
    sampled = any(value not in lowering.graph.constants for value in node.inputs[1:3])
    return costs.Layer.of(node, _ROWS_OF_A_SAMPLE if sampled else lowering.copies(node))


def convolve(lowering: Lowering, node: Node, geometry: Conv2dInteger, *, folded: bool) -> None:
    """Emit it for a layer that it applies to."""
    shape = node.inputs[1].type.shape
    filters, channels = shape[:2]
    tiles, (out_height, out_width) = (
        tiles_at_once(_layer(lowering, node)),
        extents(node.output.type),
    )
    pitch, scratch = spread_pitch(tiles, channels), scratch_bytes(tiles, channels, filters)
    layout, add = Layout(shape, run=channels), lowering.constants.add
    weights = operand(lowering, node, 1, layout)
    fields = common(lowering, node, layout, weights, scratch, folded=folded)
    instruction = Winograd(
        **fields | {"depth": channels},
        top=geometry.padding[0],
        left=geometry.padding[1],
        out_height=out_height,
        out_width=out_width,
        tiles=tiles,
        pitch=pitch,
        numbers=add(pitch * np.arange(16, dtype=np.int32)),
        none=add(np.zeros(PANEL, np.int32)),
        nowhere=scratch - filters,
    )
    lowering.emit(node, instruction)
