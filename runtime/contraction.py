"""Convolutions and linear layers, with what follows them, as one instruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Conv2dInteger, Dequantize, LinearInteger, Requantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.runtime.instructions import Convolve, Depthwise, Epilogue, FoldBias
from qbnnc.runtime.layout import parameter
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import BLOCK, DEPTH_STEP, Layout, offline_terms, per_channel
from qbnnc.runtime.program import Buffer
from qbnnc.runtime.sampling import operand


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
    x_type, shape = node.inputs[0].type, node.inputs[1].type.shape
    filters, channels, *kernel = (*shape, 1, 1)[:4]
    depthwise = geometry.groups == filters > channels == 1
    groups = 1 if depthwise else geometry.groups
    layout = Layout(shape, groups)
    weight_zero = np.array(codes_of(node.inputs[1].type).zero_point, np.int32)
    end, add = _end(lowering, node), lowering.constants.add
    height, width = _extents(x_type)
    out_height, out_width = _extents(node.output.type)
    to_output = end.epilogue is Epilogue.DEQUANTIZE
    weights = operand(lowering, node, 1, layout)
    instruction = (Depthwise if depthwise else Convolve)(
        output=end.output,
        input=lowering.codes(node, 0),
        scratch=lowering.scratch(node, (4 * BLOCK + layout.depth) * DEPTH_STEP),
        weights=weights,
        bias=_bias(lowering, node, weights, layout, folded=op.folded),
        factor=add(per_channel(end.factor, layout)),
        weight_zeros=add(per_channel(weight_zero, layout)) if weight_zero.any() else -1,
        epilogue=end.epilogue,
        zero=end.zero,
        low=end.low,
        high=end.high,
        groups=groups,
        channels=channels,
        filters=layout.filters,
        depth=layout.depth,
        channel_step=out_height * out_width if to_output else 1,
        pixel_step=1 if to_output else filters,
        height=height,
        width=width,
        out_height=out_height,
        out_width=out_width,
        kernel_height=kernel[0],
        kernel_width=kernel[1],
        stride_y=geometry.stride[0],
        stride_x=geometry.stride[1],
        top=geometry.padding[0],
        left=geometry.padding[1],
        dilation_y=geometry.dilation[0],
        dilation_x=geometry.dilation[1],
        pad_code=codes_of(x_type).per_tensor[1],
    )
    lowering.emit(node, instruction)


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
        taps=0 if array is not None else layout.taps,
        depth=0 if array is not None else layout.depth,
    )
    lowering.emit(node, instruction)
    return instruction.output


def _extents(type: TensorType) -> tuple[int, int]:
    return (type.shape[1], type.shape[2]) if len(type.shape) == 3 else (1, 1)


def _end(lowering: Lowering, node: Node) -> _End:
    """Take the reader in if it is the only one and its factor is one for each channel."""
    shape = node.output.type.shape
    reader = lowering.only_reader(node.output)
    match reader.op if reader is not None else None:
        case Requantize() as op if reader is not None:
            factor = lowering.graph.constants.get(reader.inputs[1])
            if factor is not None and len(whole := parameter(factor, shape)) == 1:
                lowering.take_in(reader)
                zero = op.quant.per_tensor[1]
                output = lowering.made(reader.output)
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
