"""What a layer takes, in cycles of one core: from which the planner chooses its form.

Fitted to both forms of layers of 16 to 256 channels, with AVX2 (docs/performance.md); only ratios
matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.ir.graph import Node
from qbnnc.runtime.families.contraction.instructions import OF_STEPS

_PRODUCTS, _WORD_PRODUCTS = 32.0, 27.0  # of 8 or 16 bits, a cycle
_TILE, _SPREAD, _GATHER = 250.0, 4.0, 6.0  # cycles for a tile, and each channel of its two ends
_SPREAD_WEIGHTS = 2.0  # cycles for each pair of channels


@dataclass(frozen=True, slots=True)
class Layer:
    """A 3x3 convolution of stride 1; `copies` are the images at a time with the same weights."""

    channels: int
    filters: int
    height: int
    width: int
    copies: int

    @staticmethod
    def of(node: Node, copies: int) -> Layer:
        filters, channels = node.inputs[1].type.shape[:2]
        _, height, width = node.output.type.shape
        return Layer(channels, filters, height, width, copies)

    @property
    def tiles(self) -> int:
        """Of 2x2 outputs in an image."""
        return -(-self.height // 2) * -(-self.width // 2)


def direct(layer: Layer, steps: int) -> float:
    """Of kernels.convolution, `steps` summed as int16."""
    pixels = layer.copies * layer.height * layer.width
    products = 9.0 * pixels * layer.channels * layer.filters
    return OF_STEPS[steps] * products / _PRODUCTS


def winograd(layer: Layer, tiles: int) -> float:
    """Of kernels.winograd with so many tiles at a time, for which it transforms its weights."""
    pairs, all_tiles = float(layer.channels * layer.filters), layer.copies * layer.tiles
    ends = _TILE + _SPREAD * layer.channels + _GATHER * layer.filters
    blocks = -(-all_tiles // tiles)
    return all_tiles * (16 * pairs / _WORD_PRODUCTS + ends) + blocks * _SPREAD_WEIGHTS * pairs
