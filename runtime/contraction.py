"""Convolutions and linear layers, with what follows them, as one instruction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Conv2dInteger, Dequantize, LinearInteger, Requantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.runtime.instructions import Convolve, Epilogue
from qbnnc.runtime.layout import parameter
from qbnnc.runtime.lowering import Lowering
from qbnnc.runtime.packing import BLOCK, DEPTH_STEP, folded_bias, pack_weights, per_channel
from qbnnc.runtime.program import Buffer


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
    """Emit a Convolve; a linear layer is a 1 x 1 convolution of one pixel."""
    geometry = op if isinstance(op, Conv2dInteger) else Conv2dInteger()
    source = lowering.codes(node, 0)
    weight, bias = _weight(lowering, node), lowering.constant(node, 2, "bias")
    x_type, weight_quant = node.inputs[0].type, codes_of(node.inputs[1].type)
    weight_zero, input_zero = (
        np.array(weight_quant.zero_point, np.int32),
        codes_of(x_type).per_tensor[1],
    )
    if not op.folded:
        bias = folded_bias(weight, bias, weight_zero, input_zero)
    end, groups, filters = _end(lowering, node), geometry.groups, len(weight)
    packed, depth = pack_weights(weight, groups)
    add, affine = lowering.constants.add, bool(weight_zero.any())
    height, width = _extents(x_type)
    out_height, out_width = _extents(node.output.type)
    to_output = end.epilogue is Epilogue.DEQUANTIZE
    instruction = Convolve(
        output=end.output,
        input=source,
        scratch=lowering.scratch(node, 4 * DEPTH_STEP * BLOCK + DEPTH_STEP * depth),
        weights=add(packed),
        bias=add(per_channel(bias, filters, groups)),
        factor=add(per_channel(end.factor, filters, groups)),
        weight_zeros=add(per_channel(weight_zero, filters, groups)) if affine else -1,
        epilogue=end.epilogue,
        zero=end.zero,
        low=end.low,
        high=end.high,
        groups=groups,
        channels=weight.shape[1],
        filters=filters // groups,
        depth=depth,
        channel_step=out_height * out_width if to_output else 1,
        pixel_step=1 if to_output else filters,
        height=height,
        width=width,
        out_height=out_height,
        out_width=out_width,
        kernel_height=weight.shape[2],
        kernel_width=weight.shape[3],
        stride_y=geometry.stride[0],
        stride_x=geometry.stride[1],
        top=geometry.padding[0],
        left=geometry.padding[1],
        dilation_y=geometry.dilation[0],
        dilation_x=geometry.dilation[1],
        pad_code=input_zero,
    )
    lowering.emit(node, instruction)


def _weight(lowering: Lowering, node: Node) -> Array:
    weight = lowering.constant(node, 1, "weight")
    return weight if weight.ndim == 4 else weight[:, :, None, None]


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
