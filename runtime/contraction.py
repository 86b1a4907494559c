"""Convolutions and linear layers, with what follows them, as one instruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Conv2dInteger, Dequantize, LinearInteger, Requantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, DType, QuantParams, TensorType
from qbnnc.runtime.instructions import Convolve, Depthwise, Epilogue, FoldBias
from qbnnc.runtime.isa import Isa, chosen
from qbnnc.runtime.kernels.convolution import SCRATCH
from qbnnc.runtime.layout import parameter
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import FOURS, LINE, Layout, offline_terms, per_channel
from qbnnc.runtime.program import Buffer
from qbnnc.runtime.sampling import is_depthwise, operand

HALO_BYTES = 96 << 10  # of the images that a layer copies into halos at a time
_MOST_IMAGES = 1024


@dataclass(frozen=True, slots=True)
class _End:
    """What becomes of the accumulators, and where. `factor` is for each channel, or one."""

    epilogue: Epilogue
    output: Buffer
    factor: Array
    zero: int = 0
    low: int = 0
    high: int = 0


def convolve(lowering: Lowering, node: Node, op: Conv2dInteger | LinearInteger) -> None:
    """Emit a Convolve or Depthwise; a linear layer is a 1 x 1 convolution of one pixel."""
    geometry = op if isinstance(op, Conv2dInteger) else Conv2dInteger()
    shape = node.inputs[1].type.shape
    if is_depthwise(node):
        _depthwise(lowering, node, geometry, folded=op.folded)
        return
    window = _window(node, geometry)
    isa = chosen()
    deep = isa is Isa.AVX2 and _four_fit(lowering, node, geometry, window.run)
    layout = Layout(shape, geometry.groups, run=window.run, deep=deep)
    common = _common(lowering, node, layout, SCRATCH + window.halo_bytes, folded=op.folded)
    add = lowering.constants.add
    instruction = Convolve(
        **common,
        top=geometry.padding[0],
        left=geometry.padding[1],
        groups=geometry.groups,
        channels=shape[1],
        segments=len(window.runs),
        run=window.run,
        fours=layout.fours,
        runs=add(window.runs),
        places=add(window.places),
        pixels=len(window.places),
        halo_height=window.halo[0],
        halo_width=window.halo[1],
        images=window.images,
        wide=needs_wide(isa, codes_of(node.inputs[0].type), codes_of(node.inputs[1].type)),
        deep=deep,
    )
    lowering.emit(node, instruction)


def needs_wide(isa: Isa, x: QuantParams, weight: QuantParams) -> bool:
    """Whether codes are too large for the instruction set's plain product.

    That of AVX2 adds two products as int16, that of NEON takes codes as int8.
    """
    if isa is Isa.AVX2:
        largest = max(abs(weight.low), abs(weight.high))
        return 2 * x.high * largest > np.iinfo(np.int16).max
    return isa is Isa.NEON_DOT and x.high > np.iinfo(np.int8).max


def _four_fit(lowering: Lowering, node: Node, geometry: Conv2dInteger, run: int) -> bool:
    """Whether the sums of two pairs of products, one of each step, are proved to fit into int16.

    From the weights themselves where they are constant, else from what they may be.
    """
    x, value = codes_of(node.inputs[0].type), node.inputs[1]
    weight, array = codes_of(value.type), lowering.graph.constants.get(value)
    most = np.iinfo(np.int16).max // x.high
    if array is None:
        return 4 * max(abs(weight.low), abs(weight.high)) <= most
    layout = Layout(value.type.shape, geometry.groups, run=run, deep=True)
    order, rows = layout.order_of_taps(), layout.rows(array).astype(np.int64)
    whole = np.where(order < 0, 0, rows[:, :, order])
    steps = whole.reshape(*rows.shape[:2], -1, 2, FOURS // 2, 2)  # [.., eights, step, lane, pair]
    sums = (np.clip(steps, low, high).sum(axis=(-3, -1)) for low, high in ((0, None), (None, 0)))
    return all(int(np.abs(s).max(initial=0)) <= most for s in sums)


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """Where operands lie: see Convolve. `halo` (height, width) is (0, 0) if none is needed."""

    places: NDArray[np.int32]
    runs: NDArray[np.int32]
    run: int
    halo: tuple[int, int]
    images: int
    halo_bytes: int


def _window(node: Node, geometry: Conv2dInteger) -> _Window:
    _, channels, kernel_height, kernel_width = (*node.inputs[1].type.shape, 1, 1)[:4]
    (height, width), (out_height, out_width) = (
        _extents(value.type) for value in (node.inputs[0], node.output)
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
        places=np.add.outer(ys * line, xs * pixel).reshape(-1).astype(np.int32),
        runs=np.add.outer(rows * line, columns * pixel).reshape(-1).astype(np.int32),
        run=run,
        halo=(0, 0) if inside else needed,
        images=min(images, _MOST_IMAGES),
        halo_bytes=min(images, _MOST_IMAGES) * halo_bytes,
    )


def _depthwise(lowering: Lowering, node: Node, geometry: Conv2dInteger, *, folded: bool) -> None:
    layout = Layout(node.inputs[1].type.shape)
    _, _, kernel_height, kernel_width = layout.shape
    out_height, out_width = _extents(node.output.type)
    instruction = Depthwise(
        **_common(lowering, node, layout, 5 * LINE, folded=folded),
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


class _Common(TypedDict):
    """The fields of a Layer that do not depend on its window."""

    output: Buffer
    input: Buffer
    scratch: Buffer
    weights: Buffer
    bias: Buffer
    factor: int
    weight_zeros: int
    epilogue: Epilogue
    zero: int
    low: int
    high: int
    filters: int
    padded: int
    depth: int
    channel_step: int
    pixel_step: int
    height: int
    width: int
    pad_code: int


def _common(
    lowering: Lowering, node: Node, layout: Layout, scratch: int, *, folded: bool
) -> _Common:
    end, add = _end(lowering, node, layout), lowering.constants.add
    weight_zero = np.array(codes_of(node.inputs[1].type).zero_point, np.int32)
    height, width = _extents(node.inputs[0].type)
    out_height, out_width = _extents(node.output.type)
    to_output = end.epilogue is Epilogue.DEQUANTIZE
    weights = operand(lowering, node, 1, layout)
    return _Common(
        output=end.output,
        input=lowering.codes(node, 0),
        scratch=lowering.scratch(node, scratch),
        weights=weights,
        bias=_bias(lowering, node, weights, layout, folded=folded),
        factor=add(per_channel(end.factor, layout)),
        weight_zeros=add(per_channel(weight_zero, layout)) if weight_zero.any() else -1,
        epilogue=end.epilogue,
        zero=end.zero,
        low=end.low,
        high=end.high,
        filters=layout.filters,
        padded=layout.padded,
        depth=layout.depth,
        channel_step=out_height * out_width if to_output else 1,
        pixel_step=1 if to_output else node.output.type.shape[0],
        height=height,
        width=width,
        pad_code=codes_of(node.inputs[0].type).per_tensor[1],
    )


def _bias(
    lowering: Lowering, node: Node, weights: Buffer, layout: Layout, *, folded: bool
) -> Buffer:
    """The bias with the terms of the zero points; by an instruction if something is sampled."""
    x, weight, bias = node.inputs
    input_zero, of_bias = codes_of(x.type).per_tensor[1], Layout(bias.type.shape, layout.groups)
    if folded or input_zero == 0:
        return operand(lowering, node, 2, of_bias)
    array, constant = (lowering.graph.constants.get(v) for v in (weight, bias))
    zero = np.array(codes_of(weight.type).zero_point, np.int32)
    terms = offline_terms(weight.type.shape, array, zero, input_zero)
    if array is not None and constant is not None:
        whole = per_channel(constant + terms, of_bias)
        return lowering.constant_buffer(bias.name, whole)
    raw = operand(lowering, node, 2, of_bias)
    stride, axes = 4 * of_bias.size, weight.type.axes | bias.type.axes
    instruction = FoldBias(
        output=Buffer(f"{node.output.name} bias", stride, axes),
        bias=raw,
        weights=raw if array is not None else weights,
        terms=lowering.constants.add(per_channel(terms, of_bias)),
        input_zero=input_zero,
        groups=layout.groups,
        padded=layout.padded,
        depth=0 if array is not None else layout.depth,
        block=layout.block,
        step=layout.step,
    )
    lowering.emit(node, instruction)
    return instruction.output


def _extents(type: TensorType) -> tuple[int, int]:
    return (type.shape[1], type.shape[2]) if len(type.shape) == 3 else (1, 1)


def _end(lowering: Lowering, node: Node, layout: Layout) -> _End:
    """Take the reader in if it is the only one and its factor is one for each channel."""
    shape = node.output.type.shape
    reader = lowering.only_reader(node.output)
    match reader.op if reader is not None else None:
        case Requantize() as op if reader is not None:
            factor = lowering.graph.constants.get(reader.inputs[1])
            if factor is not None and len(whole := parameter(factor, shape)) == 1:
                lowering.take_in(reader)
                zero = op.quant.per_tensor[1]
                output = lowering.made(reader.output, layout.padded - layout.filters)
                return _End(Epilogue.REQUANTIZE, output, whole[0], zero, op.low, op.high)
        case Dequantize() if reader is not None:
            outputs = lowering.outputs_of(reader.output)
            scale = codes_of(node.output.type).scale_array(len(shape))
            whole = parameter(scale, shape)
            if len(outputs) == 1 and len(whole) == 1 and not lowering.is_output(node.output):
                lowering.take_in(reader)
                return _End(Epilogue.DEQUANTIZE, outputs[0], whole[0])
        case _:
            pass
    assert node.output.type.dtype is DType.I32
    output = lowering.made(node.output)
    return _End(Epilogue.ACCUMULATOR, output, np.zeros(1, np.float32))
