"""Which convolutions are done by Winograd's F(2x2, 3x3), and their instruction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Conv2dInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array
from qbnnc.runtime.instructions import Winograd
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.kernels.products import WORD_PRODUCTS
from qbnnc.runtime.kernels.winograd import scratch_bytes, spread_pitch
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.lowering import Lowering, costs
from qbnnc.runtime.lowering.layers import common, extents, requantized
from qbnnc.runtime.packing import PANEL, Layout

_SPREAD_BYTES = 256 << 10  # of transformed operands at a time: they are read once for each panel
_LEAST_TILES, _ROWS = 84, 6  # so that weights are not read too often; of the microkernel
_TWICE_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])


def applies(lowering: Lowering, node: Node, geometry: Conv2dInteger) -> bool:
    """Whether the form exists for a layer: the sums are four times what they are without it."""
    weights, bias = (lowering.graph.constants.get(value) for value in node.inputs[1:3])
    if weights is None or bias is None or requantized(lowering, node) is None:
        return False
    filters, channels, *kernel = weights.shape
    x = codes_of(node.inputs[0].type)
    largest = x.high * int(np.abs(weights.reshape(filters, -1).astype(np.int64)).sum(1).max())
    return (
        kernel == [3, 3]
        and (geometry.stride, geometry.dilation, geometry.groups) == ((1, 1), (1, 1), 1)
        and channels % PANEL == filters % PANEL == 0
        and not any(codes_of(node.inputs[1].type).zero_point)
        and 4 * largest <= np.iinfo(np.int32).max
    )


def wins(lowering: Lowering, node: Node, geometry: Conv2dInteger, *, deep: bool) -> bool:
    """Whether it applies and takes less time than the direct form."""
    if chosen() not in WORD_PRODUCTS or not applies(lowering, node, geometry):
        return False
    layer = costs.Layer.of(node, lowering.copies(node))
    return costs.winograd(layer, tiles_at_once(layer)) < costs.direct(layer, deep=deep)


def tiles_at_once(layer: costs.Layer) -> int:
    """A multiple of the microkernel's rows, no more than there are."""
    room = _SPREAD_BYTES // (32 * layer.channels)
    return round_up(min(max(_LEAST_TILES, room), layer.tiles), _ROWS)


def convolve(lowering: Lowering, node: Node, geometry: Conv2dInteger, *, folded: bool) -> None:
    """Emit it for a layer that it applies to."""
    shape, add = node.inputs[1].type.shape, lowering.constants.add
    filters, channels = shape[:2]
    layer = costs.Layer.of(node, lowering.copies(node))
    tiles, (out_height, out_width) = tiles_at_once(layer), extents(node.output.type)
    weights = transformed(lowering.constant(node, 1, "weight"))
    pitch = spread_pitch(tiles, channels)
    layout, scratch = Layout(shape, run=channels), scratch_bytes(tiles, channels, filters)
    fields = common(
        lowering, node, layout, lowering.constant_buffer(node.inputs[1].name, weights), scratch,
        folded=folded,
    )  # fmt: skip
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


def transformed(weights: Array) -> NDArray[np.int16]:
    """(2G) g (2G)' of weights [O, C, 3, 3] as [16][O / 16][C / 2][16][2]."""
    wide = weights.astype(np.int64)
    numbers = np.einsum("iy,ocyx,jx->ijoc", _TWICE_G, wide, _TWICE_G)
    filters, channels = weights.shape[:2]
    panels = numbers.reshape(16, filters // PANEL, PANEL, channels // 2, 2)
    return np.ascontiguousarray(panels.swapaxes(2, 3).astype(np.int16))
