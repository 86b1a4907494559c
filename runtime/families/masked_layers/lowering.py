"""The choice and the lowering of layers whose input is a value of the row times a dropout mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypedDict

import numpy as np

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Reshape
from qbnnc.ir.types import PER_ROW
from qbnnc.runtime.families.contraction import lowering as contraction
from qbnnc.runtime.families.contraction.epilogue import end_of, extents
from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.families.masked_layers.cost import form_of, listing, row_bytes
from qbnnc.runtime.families.masked_layers.forms import MaskedForm
from qbnnc.runtime.families.masked_layers.geometry import BLOCK, LANES, REPEATED, TURN, WHOLE
from qbnnc.runtime.families.masked_layers.instructions import (
    MaskedProducts,
    MaskedSums,
    UnitPlanes,
    UnitTable,
)
from qbnnc.runtime.families.masked_layers.planes import Planes, planes_of, sums_of_none
from qbnnc.runtime.families.masked_layers.units import MaskedLayer, find
from qbnnc.runtime.families.moves import lowering as moves
from qbnnc.runtime.families.pointwise import lowering as pointwise
from qbnnc.runtime.families.pooling import lowering as pooling
from qbnnc.runtime.families.quantization import lowering as quantization
from qbnnc.runtime.layout import ALIGNMENT, K_BLOCK, round_up
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.runtime.program import Buffer

_LIST_BYTES = 64 << 10  # of the samples whose lists are made at a time
_MOST_SAMPLES = 32
_ABOVE: dict[type, Lower] = {  # the ops that may stand between a mask and its layer, and the layer
    **contraction.LOWERINGS,
    **moves.LOWERINGS,
    **pointwise.LOWERINGS,
    **pooling.LOWERINGS,
    **quantization.LOWERINGS,
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A layer under a mask, and the form that it has."""

    layer: MaskedLayer
    form: MaskedForm


def choose(lowering: Lowering, nodes: Sequence[Node]) -> dict[Node, Chosen]:
    """Choose the layers that are not computed directly, and note the nodes that nothing reads then.

    A mask is drawn with the layer's lists. It has an instruction of its own only if another node
    reads it.
    """
    if lowering.traced or lowering.masked_form is MaskedForm.DIRECT:
        return {}
    chosen = dict[Node, Chosen]()
    for node in nodes:
        layer = find(lowering, node)
        if layer is None:
            continue
        form = form_of(lowering, layer)
        if form is not MaskedForm.DIRECT:
            chosen[node] = Chosen(layer, form)
    inside = set[Node]()
    for found in chosen.values():
        inside |= {found.layer.mask_node, found.layer.select, *found.layer.chain}
    done = set(chosen)
    for node in reversed(nodes):
        if node not in inside or lowering.leaves(node.output):
            continue
        if all(reader in done for reader in lowering.readers(node.output)):
            done.add(node)
            lowering.take_in(node)
    return chosen


def lower(lowering: Lowering, chosen: Chosen) -> None:
    """Emit what is computed once for a row, then the sums of each sample."""
    layer, planes = chosen.layer, planes_of(chosen.layer)
    image = _image_of_the_row(lowering, layer)
    if chosen.form is MaskedForm.TABLE:
        _with_table(lowering, layer, planes, image)
    else:
        _with_products(lowering, layer, planes, image)


def _with_table(lowering: Lowering, layer: MaskedLayer, planes: Planes, image: Value) -> None:
    node, add = layer.node, lowering.constants.add
    units, filters, *_ = planes.weights.shape
    offsets, stride = 2 * planes.offsets(2), row_bytes(layer)
    nbytes = round_up((units + 1) * stride + round_up(units, TURN), ALIGNMENT)
    table = UnitTable(
        **_in_planes(lowering, layer, planes, image, nbytes),
        scratch=lowering.scratch(node, 2 * planes.size + 2),
        unit_weights=add(planes.packed(BLOCK, 2)),
        none=add(sums_of_none(lowering, layer)),
        whole=not listing(layer).adds,
        pairs=len(offsets),
        pair_offsets=add(offsets),
        pixels=len(planes.pixel_offsets),
        pixel_offsets=add(2 * planes.pixel_offsets),
        filters=filters,
        stride=stride,
    )
    lowering.emit(_row_node(node), table)
    sums = 4 * round_up(prod(layer.output_shape), WHOLE)
    common = _common(lowering, layer, sums)
    lowering.emit(node, MaskedSums(**common, table=table.output, stride=stride))


def _with_products(lowering: Lowering, layer: MaskedLayer, planes: Planes, image: Value) -> None:
    node, add = layer.node, lowering.constants.add
    nbytes = round_up(planes.size + round_up(layer.units, TURN), ALIGNMENT)
    made = UnitPlanes(**_in_planes(lowering, layer, planes, image, nbytes))
    lowering.emit(_row_node(node), made)
    if listing(layer).adds:
        none = sums_of_none(lowering, layer)
        of_none = np.pad(none, (0, WHOLE))
        base = lowering.constant_buffer(f"{node.output.name} of no unit", of_none)
    else:
        base = _sums_of_all(lowering, layer, image)
    _, filters, height, width = planes.weights.shape[0], *layer.output_shape
    shifts = layer.input_zero * planes.weights.sum(axis=(2, 3), dtype=np.int32)
    offsets = planes.offsets(K_BLOCK)
    weights = planes.packed(LANES, K_BLOCK).swapaxes(0, 1).astype(np.int8)
    sums = 4 * (filters + WHOLE) * _samples_at_once(layer) + 4 * (filters * height * width + WHOLE)
    products = MaskedProducts(
        **_common(lowering, layer, sums),
        planes=made.output,
        base=base,
        unit=made.unit,
        unit_weights=add(weights),
        shifts=add(shifts) if layer.input_zero else -1,
        k_blocks=len(offsets),
        k_offsets=add(offsets),
        pixels=len(planes.pixel_offsets),
        pixel_offsets=add(planes.pixel_offsets),
    )
    lowering.emit(node, products)


class _InPlanes(TypedDict):
    """The fields of an image and its planes."""

    output: Buffer
    input: Buffer
    zero: int
    channels: int
    height: int
    width: int
    top: int
    left: int
    plane_height: int
    plane_width: int
    units: int
    unit: int


def _in_planes(
    lowering: Lowering, layer: MaskedLayer, planes: Planes, image: Value, nbytes: int
) -> _InPlanes:
    height, width = extents(image.type)
    return _InPlanes(
        output=Buffer(f"{layer.node.output.name} units", nbytes, PER_ROW),
        input=lowering.buffers[image],
        zero=layer.input_zero,
        channels=planes.channels,
        height=height,
        width=width,
        top=planes.top,
        left=planes.left,
        plane_height=planes.height,
        plane_width=planes.width,
        units=layer.units,
        unit=planes.size // layer.units,
    )


def _samples_at_once(layer: MaskedLayer) -> int:
    """Return the samples whose lists are made at a time."""
    return max(1, min(_MOST_SAMPLES, _LIST_BYTES // (4 * round_up(layer.units, TURN))))


class _Common(TypedDict):
    """The fields of a Masked."""

    output: Buffer
    scratch: Buffer
    stream: int
    shared: int
    flip: int
    limit: int
    adds: int
    units: int
    elements: int
    filters: int
    samples: int
    factor: int
    epilogue: Epilogue
    zero: int
    low: int
    high: int
    channel_step: int
    pixel_step: int


def _common(lowering: Lowering, layer: MaskedLayer, sums: int) -> _Common:
    """Make the common fields; `sums` are the bytes of the scratch space after the lists."""
    end, drawn = end_of(lowering, layer.node, WHOLE), listing(layer)
    filters, height, width = layer.output_shape
    list_bytes, samples = 4 * round_up(layer.units, TURN), _samples_at_once(layer)
    scratch = list_bytes // 2 + (list_bytes + 8) * samples + sums
    factor = np.broadcast_to(end.factor, (filters,)).astype(np.float32)
    return _Common(
        output=end.output,
        scratch=lowering.scratch(layer.node, scratch),
        stream=layer.mask.stream,
        shared=layer.mask.shared,
        flip=drawn.flip,
        limit=drawn.limit,
        adds=drawn.adds,
        units=layer.units,
        elements=filters * height * width,
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


def _row_node(node: Node) -> Node:
    """Return a node for the unmasked twin of its value."""
    return replace(node, output=_row_value(node.output))


def _sums_of_all(lowering: Lowering, layer: MaskedLayer, image: Value) -> Buffer:
    """Compute the layer's sums of a row without a mask: int32 [pixels, filters]."""
    value = image
    for node in (*layer.chain, layer.node):
        if isinstance(node.op, Reshape) or node is layer.node:
            value = _on_the_row(lowering, node, value)
    return lowering.buffers[value]
