"""The lowering of convolutions and linear layers, each with its epilogue in one instruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Conv2dInteger, LinearInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, QuantParams
from qbnnc.ir.weights import chunks
from qbnnc.runtime.families.contraction import winograd
from qbnnc.runtime.families.contraction.epilogue import common, extents
from qbnnc.runtime.families.contraction.instructions import PRODUCT_WORK, Convolve, Depthwise
from qbnnc.runtime.families.contraction.scratch import SCRATCH
from qbnnc.runtime.families.parameters import operand
from qbnnc.runtime.families.sampled_weights.packed import is_depthwise
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.layout import CHANNEL_BLOCK
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.runtime.packing import Layout
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()
HALO_BYTES = 96 << 10  # of the images that a layer copies at a time
_MOST_IMAGES = 1024


@LOWERINGS.of(Conv2dInteger, LinearInteger)
def convolve(lowering: Lowering, node: Node, op: Conv2dInteger | LinearInteger) -> None:
    """Emit a Convolve, Depthwise or Winograd.

    A linear layer is a 1 x 1 convolution of one pixel.
    """
    geometry = op if isinstance(op, Conv2dInteger) else Conv2dInteger()
    shape = node.inputs[1].type.shape
    if is_depthwise(node):
        _depthwise(lowering, node, geometry, folded=op.folded)
        return
    window = _window(node, geometry)
    isa = chosen()
    steps = _steps(lowering, node, geometry, window.run) if isa is Isa.AVX2 else 1
    if winograd.wins(lowering, node, geometry, steps):
        winograd.convolve(lowering, node, geometry, folded=op.folded)
        return
    layout = Layout(shape, geometry.groups, run=window.run, steps=steps)
    weights = operand(lowering, node, 1, layout)
    scratch = SCRATCH + window.halo_bytes
    add = lowering.constants.add
    instruction = Convolve(
        **common(lowering, node, layout, weights, scratch, folded=op.folded),
        top=geometry.padding[0],
        left=geometry.padding[1],
        groups=geometry.groups,
        channels=shape[1],
        segments=len(window.run_offsets),
        run=window.run,
        k_blocks=layout.k_blocks,
        run_offsets=add(window.run_offsets),
        pixel_offsets=add(window.pixel_offsets),
        pixels=len(window.pixel_offsets),
        halo_height=window.halo[0],
        halo_width=window.halo[1],
        images=window.images,
        wide=needs_wide(isa, codes_of(node.inputs[0].type), codes_of(node.inputs[1].type)),
        steps=steps,
    )
    lowering.emit(node, instruction)


def needs_wide(isa: Isa, x: QuantParams, weight: QuantParams) -> bool:
    """Tell whether codes are too large for the instruction set's plain product.

    The product of AVX2 adds two products as int16. The product of NEON takes codes as int8.
    """
    if isa is Isa.AVX2:
        largest = max(abs(weight.low), abs(weight.high))
        return 2 * x.high * largest > np.iinfo(np.int16).max
    return isa is Isa.NEON_DOT and x.high > np.iinfo(np.int8).max


def _steps(lowering: Lowering, node: Node, geometry: Conv2dInteger, run: int) -> int:
    """Choose the k-blocks that are summed as int16: proved to fit, and with little padding."""
    value, largest = node.inputs[1], codes_of(node.inputs[0].type).high
    weight, array = codes_of(value.type), lowering.graph.constants.get(value)

    def layout(steps: int) -> Layout:
        return Layout(value.type.shape, geometry.groups, run=run, steps=steps)

    def fit(steps: int) -> bool:
        """Prove that sums fit, from constant weights or from the bounds of sampled ones."""
        if array is None:
            most = 2 * steps * max(abs(weight.low), abs(weight.high))
        else:
            most = _largest_in_a_lane(layout(steps), array)
        return largest * most <= np.iinfo(np.int16).max

    proved = [1, *(steps for steps in (2, 4) if fit(steps))]
    return min(proved, key=lambda steps: PRODUCT_WORK[steps] * layout(steps).k_blocks)


def _largest_in_a_lane(layout: Layout, array: Array) -> int:
    """Return the greatest sum of positive or of negative weights that meet in a lane of int16."""
    largest, rows = 0, layout.rows(array).reshape(len(array), -1)
    for some, _ in chunks(len(rows), 1, rows.shape[1]):
        lanes = layout.lanes(rows[some])  # [.., turn, step, lane, pair]
        meet = [lanes[:, :, step, :, pair] for step in range(layout.steps) for pair in (0, 1)]
        positive = sum((np.maximum(w, 0) for w in meet), np.int16(0))
        negative = sum((np.minimum(w, 0) for w in meet), np.int16(0))
        largest = max(largest, int(np.max(positive)), -int(np.min(negative)))
    return largest


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """The places of operands, as in Convolve; `halo` (height, width) is (0, 0) for none."""

    pixel_offsets: NDArray[np.int32]
    run_offsets: NDArray[np.int32]
    run: int
    halo: tuple[int, int]
    images: int
    halo_bytes: int


def _window(node: Node, geometry: Conv2dInteger) -> _Window:
    _, channels, kernel_height, kernel_width = (*node.inputs[1].type.shape, 1, 1)[:4]
    (height, width), (out_height, out_width) = (
        extents(value.type) for value in (node.inputs[0], node.output)
    )
    (stride_y, stride_x), (dilation_y, dilation_x) = geometry.stride, geometry.dilation
    pixel = channels * geometry.groups
    needed = (
        (out_height - 1) * stride_y + (kernel_height - 1) * dilation_y + 1,
        (out_width - 1) * stride_x + (kernel_width - 1) * dilation_x + 1,
    )
    inside = not any(geometry.padding[:2]) and needed[0] <= height and needed[1] <= width
    line = (width if inside else needed[1]) * pixel
    ys, xs = np.arange(out_height) * stride_y, np.arange(out_width) * stride_x
    rows, columns = np.arange(kernel_height) * dilation_y, np.arange(kernel_width) * dilation_x
    run = channels
    if geometry.groups == 1 and dilation_x == 1:
        run, columns = channels * kernel_width, columns[:1]
    halo_bytes = 0 if inside else needed[0] * line
    images = max(1, HALO_BYTES // halo_bytes) if halo_bytes else _MOST_IMAGES
    return _Window(
        pixel_offsets=np.add.outer(ys * line, xs * pixel).reshape(-1).astype(np.int32),
        run_offsets=np.add.outer(rows * line, columns * pixel).reshape(-1).astype(np.int32),
        run=run,
        halo=(0, 0) if inside else needed,
        images=min(images, _MOST_IMAGES),
        halo_bytes=min(images, _MOST_IMAGES) * halo_bytes,
    )


def _depthwise(lowering: Lowering, node: Node, geometry: Conv2dInteger, *, folded: bool) -> None:
    layout = Layout(node.inputs[1].type.shape)
    weights = operand(lowering, node, 1, layout)
    _, _, kernel_height, kernel_width = layout.shape
    out_height, out_width = extents(node.output.type)
    instruction = Depthwise(
        **common(lowering, node, layout, weights, 5 * CHANNEL_BLOCK, folded=folded),
        top=geometry.padding[0],
        left=geometry.padding[1],
        out_height=out_height,
        out_width=out_width,
        kernel_height=kernel_height,
        kernel_width=kernel_width,
        stride_y=geometry.stride[0],
        stride_x=geometry.stride[1],
        dilation_y=geometry.dilation[0],
        dilation_x=geometry.dilation[1],
    )
    lowering.emit(node, instruction)
