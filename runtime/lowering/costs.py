"""What a layer takes, in cycles of one core: from which the planner chooses its form.

Rates are what the microkernels reach on operands in the first-level cache with AVX2; only their
ratios matter (docs/performance.md says how they were measured).
"""

from __future__ import annotations

from dataclasses import dataclass

from qbnnc.ir.graph import Node

_PRODUCTS, _DEEP_PRODUCTS, _WORD_PRODUCTS = 32.0, 42.0, 30.0  # of 8 or 16 bits, a cycle
_SPREAD, _GATHER = 2.0, 4.0  # cycles for each tile, and channel that enters or leaves
_BYTES = 3.0  # of weights that no cache near the core holds, a cycle


@dataclass(frozen=True, slots=True)
class Layer:
    """A 3x3 convolution of `copies` images at a time."""

    channels: int
    filters: int
    pixels: int
    tiles: int

    @staticmethod
    def of(node: Node, copies: int) -> Layer:
        filters, channels = node.inputs[1].type.shape[:2]
        _, height, width = node.output.type.shape
        tiles = -(-height // 2) * -(-width // 2)
        return Layer(channels, filters, copies * height * width, copies * tiles)


def direct(layer: Layer, *, deep: bool) -> float:
    """Of kernels.convolution: its weights are small and read from a cache."""
    products = 9.0 * layer.pixels * layer.channels * layer.filters
    return products / (_DEEP_PRODUCTS if deep else _PRODUCTS)


def winograd(layer: Layer, tiles: int) -> float:
    """Of kernels.winograd with so many tiles at a time, for which its weights are read once."""
    matrix = 16.0 * layer.channels * layer.filters
    ends = _SPREAD * layer.channels + _GATHER * layer.filters
    blocks = -(-layer.tiles // tiles)
    return layer.tiles * (matrix / _WORD_PRODUCTS + ends) + 2 * blocks * matrix / _BYTES
