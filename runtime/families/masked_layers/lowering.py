"""The choice and the lowering of layers whose input is a value of the row times a dropout mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Reshape
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.integer import ContractionInteger
from qbnnc.ir.types import PER_ROW, Array
from qbnnc.runtime.families.contraction import lowering as contraction
from qbnnc.runtime.families.contraction.epilogue import end_of, extents
from qbnnc.runtime.families.masked_layers import cost
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.masked_layers.instructions import MaskedSums, UnitTable
from qbnnc.runtime.families.masked_layers.kernels.masked_sums import REPEATED, WHOLE
from qbnnc.runtime.families.masked_layers.kernels.pair_products import BLOCK
from qbnnc.runtime.families.masked_layers.kernels.unit_lists import TURN
from qbnnc.runtime.families.masked_layers.units import MaskedLayer, find
from qbnnc.runtime.families.moves import lowering as moves
from qbnnc.runtime.families.pointwise import lowering as pointwise
from qbnnc.runtime.families.pooling import lowering as pooling
from qbnnc.runtime.families.quantization import lowering as quantization
from qbnnc.runtime.layout import ALIGNMENT, round_up
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.runtime.program import Buffer

_LIST_BYTES = 16 << 10  # of the samples whose lists are made at a time
_ABOVE: dict[type, Lower] = {  # the ops that may stand between a mask and its layer, and the layer
    **contraction.LOWERINGS,
    **moves.LOWERINGS,
    **pointwise.LOWERINGS,
    **pooling.LOWERINGS,
    **quantization.LOWERINGS,
}


def choose(lowering: Lowering, nodes: Sequence[Node]) -> dict[Node, MaskedLayer]:
    """Choose the layers that have a table, and note the nodes that nothing needs any more."""
    if lowering.traced or lowering.masked_form is MaskedForm.DIRECT:
        return {}
    found = (find(lowering, node) for node in nodes)
    layers = {
        layer.node: layer
        for layer in found
        if layer is not None and cost.form_of(lowering, layer) is MaskedForm.TABLE
    }
    unneeded = {
        node
        for layer in layers.values()
        for node in (layer.mask_node, layer.select, *layer.chain)
    }  # fmt: skip
    done = set[Node](layers)
    for node in reversed(nodes):
        if node in unneeded and not lowering.leaves(node.output):
            if all(reader in done for reader in lowering.readers(node.output)):
                done.add(node)
                lowering.take_in(node)
    return layers


def lower(lowering: Lowering, layer: MaskedLayer) -> None:
    """Emit the table of a row, then the sums of each sample."""
    node = layer.node
    image = _image_of_the_row(lowering, layer)
    end = end_of(lowering, node, WHOLE)
    draw, adds = cost.listing(layer)
    table, stride = _table(lowering, layer, image, whole=not adds)
    filters, height, width = layer.output_shape
    elements, turns = filters * height * width, -(-layer.units // TURN)
    samples = max(1, min(32, _LIST_BYTES // (4 * TURN * turns)))
    scratch = (2 + 4 * samples) * TURN * turns + 8 * samples + 4 * round_up(elements, WHOLE)
    factor = np.broadcast_to(end.factor, (filters,)).astype(np.float32)
    instruction = MaskedSums(
        output=end.output,
        table=table,
        scratch=lowering.scratch(node, scratch),
        stream=layer.mask.stream,
        shared=layer.mask.shared,
        flip=draw.flip,
        limit=draw.limit,
        adds=adds,
        units=layer.units,
        stride=stride,
        elements=elements,
        filters=filters,
        samples=samples,
        factor=lowering.constants.add(np.resize(factor, filters + REPEATED)),
        epilogue=end.epilogue,
        zero=end.zero,
        low=end.low,
        high=end.high,
        channel_step=1 if end.channels_last else height * width,
        pixel_step=filters if end.channels_last else 1,
    )
    lowering.emit(node, instruction)


def _image_of_the_row(lowering: Lowering, layer: MaskedLayer) -> Value:
    """Compute the chain's ops in front of its reshapes on the unmasked value."""
    value = _row_value(layer.select.output)
    lowering.buffers[value] = lowering.codes(layer.select, 0)
    for node in layer.chain:
        if not isinstance(node.op, Reshape):
            value = _on_the_row(lowering, node, value)
    return value


def _on_the_row(lowering: Lowering, node: Node, value: Value) -> Value:
    """Compute a node's op on a value of the row in place of its first input."""
    row = _row_value(node.output)
    clone = replace(node, inputs=(value, *node.inputs[1:]), output=row)
    lower: Any = next(_ABOVE[kind] for kind in type(node.op).__mro__ if kind in _ABOVE)
    lower(lowering, clone, clone.op)
    return row


def _row_value(value: Value) -> Value:
    """Return the unmasked twin of a value, which varies with the row alone."""
    return Value(f"{value.name} unmasked", replace(value.type, axes=PER_ROW))


def _sums_of_none(lowering: Lowering, layer: MaskedLayer) -> NDArray[np.int32]:
    """Compute the sums of a layer whose input is Z everywhere, mod 2^32: [filters]."""
    node, constants = layer.node, lowering.graph.constants
    bias = constants[node.inputs[2]].astype(np.int64)
    assert isinstance(node.op, ContractionInteger)
    if node.op.folded:
        bias = bias + layer.input_zero * _weights(layer).sum(axis=(1, 2, 3), dtype=np.int64)
    return (bias & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


def _weights(layer: MaskedLayer) -> NDArray[np.int16]:
    """Return the weights less their zero points: int16 [filters, C, kernel height, width]."""
    quant = codes_of(layer.node.inputs[1].type)
    zero = np.broadcast_to(np.array(quant.zero_point, np.int16), (len(layer.weight),))
    return layer.weight.astype(np.int16) - zero.reshape(-1, 1, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
    """The place of operands in planes of int16, in bytes, and the weights of their runs."""

    top: int
    left: int
    height: int
    width: int
    pixel_offsets: NDArray[np.int32]
    run_offsets: NDArray[np.int32]
    weights: NDArray[np.int16]  # [units, filters, segments, run]


def _planes(layer: MaskedLayer) -> _Planes:
    weights, (_, height, width), geometry = _weights(layer), layer.shape, layer.geometry
    filters, channels, *kernel = weights.shape
    nowhere = np.zeros(1, np.int32)
    if layer.elements or (kernel == [height, width] and not any(geometry.padding)):
        run = 1 if layer.elements else height * width
        runs = weights.reshape(filters, -1, 1, run)
        return _Planes(0, 0, height, width, nowhere, nowhere, runs.swapaxes(0, 1))
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
    return _Planes(
        top=geometry.padding[0],
        left=geometry.padding[1],
        height=(rows - 1) * step_y + (kernel[0] - 1) * gap_y + 1,
        width=line,
        pixel_offsets=(2 * np.add.outer(ys * line, xs)).reshape(-1).astype(np.int32),
        run_offsets=(2 * np.add.outer(taps_y * line, taps_x)).reshape(-1).astype(np.int32),
        weights=runs,
    )


def _table(
    lowering: Lowering, layer: MaskedLayer, image: Value, *, whole: bool
) -> tuple[Buffer, int]:
    """Emit the table of a row; return it, and the bytes from one unit's row to the next."""
    planes, node, add = _planes(layer), layer.node, lowering.constants.add
    units, filters, segments, run = planes.weights.shape
    twos, stride = -(-run // 2), cost.row_bytes(layer)
    padded = np.zeros((units, round_up(filters, BLOCK), segments, 2 * twos), np.int16)
    padded[:, :filters, :, :run] = planes.weights
    blocks = padded.reshape(units, -1, BLOCK, segments * twos, 2).swapaxes(2, 3)
    pair_offsets = np.add.outer(planes.run_offsets, 4 * np.arange(twos)).astype(np.int32)
    channels, (height, width) = layer.shape[0], extents(image.type)
    size = channels * planes.height * planes.width
    nbytes = round_up((units + 1) * stride + round_up(units, TURN), ALIGNMENT)
    table = Buffer(f"{node.output.name} table", nbytes, PER_ROW)
    instruction = UnitTable(
        output=table,
        input=lowering.buffers[image],
        scratch=lowering.scratch(node, 2 * size + 2),
        weights=add(blocks),
        none=add(_sums_of_none(lowering, layer)),
        whole=whole,
        zero=layer.input_zero,
        channels=channels,
        height=height,
        width=width,
        top=planes.top,
        left=planes.left,
        plane_height=planes.height,
        plane_width=planes.width,
        units=units,
        unit=size // units,
        pairs=segments * twos,
        pair_offsets=add(pair_offsets),
        pixel_offsets=add(planes.pixel_offsets),
        pixels=len(planes.pixel_offsets),
        filters=filters,
        stride=stride,
    )
    lowering.emit(replace(node, output=_row_value(node.output)), instruction)
    return table, stride
