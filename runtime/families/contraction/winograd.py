"""The choice of Winograd's F(2x2, 3x3) for a convolution, and its lowering."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Conv2dInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.weights import channel_sums
from qbnnc.runtime.families.contraction.epilogue import common, extents, requantized
from qbnnc.runtime.families.contraction.instructions import PRODUCT_WORK, Winograd
from qbnnc.runtime.families.contraction.scratch import TILE_PANEL as PANEL
from qbnnc.runtime.families.contraction.scratch import input_pitch, winograd_bytes
from qbnnc.runtime.families.parameters import operand
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import Layout

_BYTES = 256 << 10  # of v and m at a time: v is read once for each panel, m is written and read
_LEAST_TILES = 84  # at a time, so that weights are not read too often
_ROWS = 6  # of the microkernel's tile
_IMAGES = 16  # for which there is space at least
_ROWS_OF_A_SAMPLE = 4  # that share sampled weights: one row loses little, many gain much

# Cycles of one core, fitted to both forms of layers of 16 to 256 channels with AVX2
# (docs/explanation/performance.md). Only their ratios matter.
_PRODUCTS, _WORD_PRODUCTS = 32.0, 27.0  # products of 8 or 16 bits in a cycle
_TILE = 250.0  # for each tile
_INPUT_TRANSFORM, _OUTPUT_TRANSFORM = 4.0, 6.0  # for each tile and channel
_FILTER_TRANSFORM = 2.0  # for each pair of channels


def applies(lowering: Lowering, node: Node, geometry: Conv2dInteger) -> bool:
    """Tell whether the form exists for a layer.

    Its sums are four times those of the direct form, and must fit into int32.
    """
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
    """Return the greatest sum of |weight| of an output channel, or a bound for sampled weights."""
    array = lowering.graph.constants.get(weight)
    if array is None:
        quant = codes_of(weight.type)
        return max(-quant.low, quant.high) * prod(weight.type.shape[1:])
    return int(channel_sums(array, np.zeros(1, np.int32)).size.max())


def wins(lowering: Lowering, node: Node, geometry: Conv2dInteger, steps: int) -> bool:
    """Tell whether the form exists for a layer and takes less time than the direct form."""
    if not chosen().multiplies_words or not applies(lowering, node, geometry):
        return False
    layer = _layer(lowering, node)
    return winograd_cost(layer, tiles_at_once(layer)) < direct_cost(layer, steps)


def tiles_at_once(layer: Convolution3x3) -> int:
    """Choose the tiles at a time: a multiple of the microkernel's rows, no more than there are."""
    fitting = _BYTES // (2 * 16 * layer.channels + 4 * 16 * PANEL)
    needed = max(layer.copies, _IMAGES) * layer.tiles
    return round_up(min(max(_LEAST_TILES, fitting), needed), _ROWS)


def _layer(lowering: Lowering, node: Node) -> Convolution3x3:
    """Describe a layer in a prediction for one row, or for a few if its weights are sampled."""
    sampled = any(value not in lowering.graph.constants for value in node.inputs[1:3])
    return Convolution3x3.of(node, _ROWS_OF_A_SAMPLE if sampled else lowering.copies(node))


def convolve(lowering: Lowering, node: Node, geometry: Conv2dInteger, *, folded: bool) -> None:
    """Emit the instruction for a layer for which the form exists."""
    shape = node.inputs[1].type.shape
    filters, channels = shape[:2]
    tiles, (out_height, out_width) = (
        tiles_at_once(_layer(lowering, node)),
        extents(node.output.type),
    )
    pitch, scratch = input_pitch(tiles, channels), winograd_bytes(tiles, channels, filters)
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


@dataclass(frozen=True, slots=True)
class Convolution3x3:
    """The size of a 3x3 convolution of stride 1.

    `copies` are the images with the same weights.
    """

    channels: int
    filters: int
    height: int
    width: int
    copies: int

    @staticmethod
    def of(node: Node, copies: int) -> Convolution3x3:
        """Read the size from a convolution."""
        filters, channels = node.inputs[1].type.shape[:2]
        _, height, width = node.output.type.shape
        return Convolution3x3(channels, filters, height, width, copies)

    @property
    def tiles(self) -> int:
        """The tiles of 2x2 outputs in an image."""
        return -(-self.height // 2) * -(-self.width // 2)


def direct_cost(layer: Convolution3x3, steps: int) -> float:
    """Return the cycles of the direct form, with `steps` products summed as int16."""
    pixels = layer.copies * layer.height * layer.width
    products = 9.0 * pixels * layer.channels * layer.filters
    return PRODUCT_WORK[steps] * products / _PRODUCTS


def winograd_cost(layer: Convolution3x3, tiles: int) -> float:
    """Return the cycles of Winograd's form, which transforms its weights once for `tiles` tiles."""
    pairs, all_tiles = float(layer.channels * layer.filters), layer.copies * layer.tiles
    ends = _TILE + _INPUT_TRANSFORM * layer.channels + _OUTPUT_TRANSFORM * layer.filters
    blocks = -(-all_tiles // tiles)
    return all_tiles * (16 * pairs / _WORD_PRODUCTS + ends) + blocks * _FILTER_TRANSFORM * pairs
