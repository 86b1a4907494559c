"""The places of a layer's operands in the planes of a row, and its weights by unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import ContractionInteger
from qbnnc.runtime.families.masked_layers.units import MaskedLayer
from qbnnc.runtime.layout import round_up
from qbnnc.runtime.lowering import Lowering


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """The planes of a row, [channels][height][width] with padding, and the runs of operands.

    The operand of position p has runs that begin at pixel_offsets[p] + run_offsets[s] of a unit,
    which are counted in elements. `weights` are int16 [units, filters, segments, run].
    """

    channels: int
    top: int
    left: int
    height: int
    width: int
    pixel_offsets: NDArray[np.int32]
    run_offsets: NDArray[np.int32]
    weights: NDArray[np.int16]

    @property
    def size(self) -> int:
        """The elements of all planes."""
        return self.channels * self.height * self.width

    def offsets(self, step: int) -> NDArray[np.int32]:
        """Return where each `step` elements of a run begin: [segments * steps]."""
        steps = np.arange(0, self.weights.shape[3], step)
        return np.add.outer(self.run_offsets, steps).reshape(-1).astype(np.int32)

    def packed(self, block: int, step: int) -> NDArray[np.int16]:
        """Pack the weights: [units, blocks of filters, segments * steps, block, step]."""
        units, filters, segments, run = self.weights.shape
        shape = (units, round_up(filters, block), segments, round_up(run, step))
        padded = np.zeros(shape, np.int16)
        padded[:, :filters, :, :run] = self.weights
        return padded.reshape(units, -1, block, shape[2] * shape[3] // step, step).swapaxes(2, 3)


def planes_of(layer: MaskedLayer) -> Planes:
    """Return the planes of a layer."""
    weights, (channels, height, width), geometry = _weights(layer), layer.shape, layer.geometry
    filters, _, *kernel = weights.shape
    nowhere = np.zeros(1, np.int32)
    if layer.elements or (kernel == [height, width] and not any(geometry.padding)):
        run = 1 if layer.elements else height * width
        runs = weights.reshape(filters, -1, 1, run)
        return Planes(channels, 0, 0, height, width, nowhere, nowhere, runs.swapaxes(0, 1))
    (_, rows, columns), (step_y, step_x) = layer.output_shape, geometry.stride
    gap_y, gap_x = geometry.dilation
    line = (columns - 1) * step_x + (kernel[1] - 1) * gap_x + 1
    ys, xs = np.arange(rows) * step_y, np.arange(columns) * step_x
    taps_y, taps_x = np.arange(kernel[0]) * gap_y, np.arange(kernel[1]) * gap_x
    runs = weights.swapaxes(0, 1)
    if gap_x == 1:
        taps_x = taps_x[:1]
    else:
        runs = runs.reshape(channels, filters, -1, 1)
    return Planes(
        channels=channels,
        top=geometry.padding[0],
        left=geometry.padding[1],
        height=(rows - 1) * step_y + (kernel[0] - 1) * gap_y + 1,
        width=line,
        pixel_offsets=np.add.outer(ys * line, xs).reshape(-1).astype(np.int32),
        run_offsets=np.add.outer(taps_y * line, taps_x).reshape(-1).astype(np.int32),
        weights=runs,
    )


def _weights(layer: MaskedLayer) -> NDArray[np.int16]:
    """Return the weights less their zero points: int16 [filters, C, kernel height, width]."""
    quant = codes_of(layer.node.inputs[1].type)
    zero = np.broadcast_to(np.array(quant.zero_point, np.int16), (len(layer.weight),))
    return layer.weight.astype(np.int16) - zero.reshape(-1, 1, 1, 1)


def sums_of_none(lowering: Lowering, layer: MaskedLayer) -> NDArray[np.int32]:
    """Compute the sums of a layer whose input is Z everywhere, mod 2^32: [filters]."""
    node, constants = layer.node, lowering.graph.constants
    bias = constants[node.inputs[2]].astype(np.int64)
    assert isinstance(node.op, ContractionInteger)
    if node.op.folded:
        bias = bias + layer.input_zero * _weights(layer).sum(axis=(1, 2, 3), dtype=np.int64)
    return (bias & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
