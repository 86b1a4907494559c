"""Sampled weights and biases in the layouts that layers read."""

from __future__ import annotations

from math import prod
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import ContractionInteger, Conv2dInteger, EpsCodes, SampledWeightInteger
from qbnnc.ir.types import Array, QuantParams
from qbnnc.runtime.families.sampled_weights import instructions as ins
from qbnnc.runtime.families.sampled_weights.noise import NoiseForm, noise_form
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.layout import CHANNEL_BLOCK, K_BLOCK, positions, round_up
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import Layout
from qbnnc.runtime.program import Buffer


def sampled(
    lowering: Lowering, node: Node, op: SampledWeightInteger, layout: Layout, output: Buffer
) -> ins.DrawWeight | ins.SampleWeight:
    """Return the instruction that makes a sampled weight or bias in a layout."""
    noise = lowering.producer(node.inputs[2])
    if noise is not None and isinstance(noise.op, EpsCodes) and drawn_with_weight(lowering, noise):
        return _draw(lowering, node, op, noise.op, layout, output)
    return _sample(lowering, node, op, layout, output)


def drawn_with_weight(lowering: Lowering, node: Node) -> bool:
    """Tell whether noise belongs to one layer's weight alone, in the order of the weight."""
    sampled = lowering.only_reader(node.output)
    if sampled is None or not isinstance(sampled.op, SampledWeightInteger):
        return False
    layer = lowering.only_reader(sampled.output)
    return (
        layer is not None
        and isinstance(layer.op, ContractionInteger)
        and layer.inputs[1] is sampled.output
        and not is_depthwise(layer)
        and node.output.type.shape == sampled.output.type.shape
        and len(sampled.inputs) == 5
        and _fits_columns(lowering, sampled, sampled.op.quant)
    )


def _fits_columns(lowering: Lowering, node: Node, quant: QuantParams) -> bool:
    """Tell whether DrawWeight's numbers hold what `quant`, R and r allow: see `line_codes`.

    R and r are then numbers of channels. Saturated int16 sums and Z leave what is clipped.
    """
    ratio, divisor = (lowering.constant(node, i, "R and r") for i in (3, 4))
    return (
        all(a.size == len(a) for a in (ratio, divisor))
        and bool(((ratio > 0) & (ratio < 1 << 16)).all())
        and bool(((divisor >= 1) & (divisor < 1 << 24)).all())
        and all(abs(zero) <= 1 << 14 for zero in quant.zero_point)
        and -128 <= quant.low <= quant.high <= 127
    )


def is_depthwise(layer: Node) -> bool:
    """Tell whether each output channel of a convolution reads one input channel of its own."""
    filters, channels, *_ = layer.inputs[1].type.shape
    groups = layer.op.groups if isinstance(layer.op, Conv2dInteger) else 1
    return groups == filters > channels == 1


class _Codes(TypedDict):
    """The fields that SampleWeight and DrawWeight share, typed so that `**` is checked."""

    mu: int
    sigma: int
    ratio: int
    divisor: int
    zeros: int
    low: int
    high: int
    groups: int
    padded: int
    depth: int


def _codes(
    lowering: Lowering, node: Node, op: SampledWeightInteger, layout: Layout, beyond: int = 0
) -> tuple[_Codes, int]:
    """Return the common fields, and the granule_step of ratio and divisor.

    `beyond` bytes after mu and sigma may be read.
    """
    add, shape = lowering.constants.add, node.output.type.shape
    mu, sigma = (
        np.pad(layout.pack(layout.rows(lowering.constant(node, i, what))), (0, beyond))
        for i, what in enumerate(("mean", "deviation"))
    )
    ratio, divisor, granule_step = _granules(lowering, node, layout)
    zeros = op.quant.zero_point_array(len(shape))
    codes = _Codes(
        mu=add(mu),
        sigma=add(sigma),
        ratio=add(ratio),
        divisor=add(divisor),
        zeros=add(layout.repeat_channels(layout.rows(np.broadcast_to(zeros, shape))[..., 0])),
        low=op.quant.low,
        high=op.quant.high,
        groups=layout.groups,
        padded=layout.padded,
        depth=layout.depth,
    )
    return codes, granule_step


def _sample(
    lowering: Lowering, node: Node, op: SampledWeightInteger, layout: Layout, output: Buffer
) -> ins.SampleWeight:
    rows, columns, column_step = _noise(lowering, node, layout)
    codes, granule_step = _codes(lowering, node, op, layout)
    return ins.SampleWeight(
        **codes,
        output=output,
        eps=lowering.buffer(node, 2),
        scratch=lowering.scratch(node, CHANNEL_BLOCK),
        rows=lowering.constants.add(rows),
        columns=lowering.constants.add(columns),
        column_step=column_step,
        granule_step=granule_step,
        block=layout.block,
        step=layout.step,
        item=node.output.type.dtype.numpy.itemsize,
    )


def _draw(
    lowering: Lowering,
    node: Node,
    op: SampledWeightInteger,
    noise: EpsCodes,
    layout: Layout,
    output: Buffer,
) -> ins.DrawWeight:
    form = noise_form(chosen())
    codes, _ = _codes(lowering, node, op, layout, form.beyond(layout.padded))
    lanes, rows = _lanes(layout), layout.order_of_taps().astype(np.int32)
    straight = bool((lanes[: layout.taps] == np.arange(layout.taps)).all())
    affine = any(op.quant.zero_point)
    add = lowering.constants.add
    return ins.DrawWeight(
        **codes,
        output=output,
        scratch=lowering.scratch(node, 2 * form.quad * (layout.depth // K_BLOCK + 1)),
        table=add(form.table()),
        stream=noise.stream,
        lanes=layout.taps,
        places=0 if straight else add(places_of(form, lanes)),
        straight=straight,
        rows=add(rows) if affine else 0,
        affine=affine,
        filters=layout.filters,
    )


def _lanes(layout: Layout) -> NDArray[np.int64]:
    """Return the lane of each code of a channel, [depth]; -1 is padding.

    Lanes run over [channels][taps of the window], and K over [taps][channels].
    """
    channels, order = layout.shape[1], layout.order_of_taps()
    taps = layout.taps // channels
    return np.where(order < 0, -1, order % channels * taps + order // channels)


def places_of(form: NoiseForm, lanes: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the places of `drawing.draw_column`; `lanes` [depth] has the lane of each code."""
    if form is NoiseForm.TABLE:
        codes, count = np.flatnonzero(lanes >= 0), round_up(int(lanes.max()) + 1, K_BLOCK)
        made = np.full(count, len(lanes) // K_BLOCK * form.quad, np.int32)  # after the last line
        made[lanes[codes]] = codes // K_BLOCK * form.quad + codes % K_BLOCK
        return made
    taken = np.maximum(lanes, 0).reshape(-1, K_BLOCK)
    turned = 8 * (np.arange(K_BLOCK) - taken % K_BLOCK) % 32
    return np.concatenate([taken // K_BLOCK * form.quad, turned], axis=1).astype(np.int32)


def _noise(
    lowering: Lowering, node: Node, layout: Layout
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """Return (rows [depth], columns, column_step): the place of each element's noise in memory.

    The place is a sum of a part for K and a part for the channel, if the noise has the weight's
    shape, transposed or sliced. Any other index takes 4 bytes for each element. -1 in `rows` is
    padding.
    """
    eps, shape = node.inputs[2].type, node.output.type.shape
    index = np.arange(prod(shape))
    if len(node.inputs) > 5:
        index = lowering.constant(node, 5, "index").reshape(-1)
    places = layout.rows(positions(eps.shape).reshape(-1)[index].reshape(shape)).astype(np.int32)
    if (found := layout.split_places(places)) is not None:
        rows, columns = found
        return rows, layout.repeat_channels(columns, int(columns[0, 0])), 0
    padding = np.where(layout.order_of_taps() < 0, -1, 0)
    return padding.astype(np.int32), layout.pack(places), 1


def _granules(lowering: Lowering, node: Node, layout: Layout) -> tuple[Array, Array, int]:
    """Return (R, r, granule_step), with R and r for each channel or for each element."""
    shape = node.output.type.shape
    ratio, divisor = (
        layout.rows(np.broadcast_to(lowering.constant(node, i, "R and r"), shape)) for i in (3, 4)
    )
    if all((a == a[..., :1]).all() for a in (ratio, divisor)):
        first = layout.repeat_channels(ratio[..., 0])
        return first, layout.repeat_channels(divisor[..., 0], 1), 0
    return layout.pack(ratio), layout.pack(divisor, 1), 1
