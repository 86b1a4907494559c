"""Each INTEGER op as instructions; convolutions and linear layers are in `contraction`."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.errors import CompileError
from qbnnc.ir.graph import Node
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Conv2dInteger,
    Dequantize,
    KeepMask,
    LinearInteger,
    MaxPool2d,
    QuantizeInput,
    Requantize,
    Reshape,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.rng import keep_threshold
from qbnnc.ir.types import DType
from qbnnc.runtime import instructions as ins
from qbnnc.runtime.contraction import convolve
from qbnnc.runtime.layout import grid, mask_steps, parameter, same_order
from qbnnc.runtime.lowering import Lowering


def lower_node(lowering: Lowering, node: Node) -> None:
    """CompileError, at the node, if no kernel takes its inputs."""
    if lowering.taken_in(node):
        return
    _refuse_reals(lowering, node)
    match node.op:
        case Conv2dInteger() | LinearInteger() as op:
            convolve(lowering, node, op)
        case QuantizeInput() as op:
            _quantize(lowering, node, op)
        case Requantize() as op:
            _requantize(lowering, node, op)
        case Dequantize():
            _dequantize(lowering, node)
        case AddQuantized() as op:
            _add(lowering, node, op)
        case ClampCodes() as op:
            _clamp(lowering, node, op)
        case MaxPool2d() | SumPoolInteger() as op:
            _pool(lowering, node, op)
        case KeepMask() as op:
            _keep_mask(lowering, node, op)
        case Select():
            _select(lowering, node)
        case Reshape():
            _reshape(lowering, node)
        case op:
            raise CompileError(f"the runtime has no kernel for {op.name}", node.loc)


def _refuse_reals(lowering: Lowering, node: Node) -> None:
    """float32 values are the input and the outputs, and nothing between."""
    if isinstance(node.op, QuantizeInput | Reshape):
        return
    for value in node.inputs:
        if value.type.dtype is DType.F32 and value not in lowering.graph.constants:
            raise CompileError(
                f"{node.op.name}: the runtime computes on codes, not on {value.type}", node.loc
            )


def _dequantize(lowering: Lowering, node: Node) -> None:
    """One instruction for each output that this is, perhaps reshaped."""
    type_ = node.inputs[0].type
    if type_.dtype is DType.I8:
        raise CompileError("the runtime has no kernel for signed codes", node.loc)
    quant, rank = codes_of(type_), len(type_.shape)
    pixels, channels = grid(type_.shape)
    scales = parameter(quant.scale_array(rank), type_.shape)
    zeros = parameter(quant.zero_point_array(rank), type_.shape)
    rows = max(len(scales), len(zeros))
    for output in lowering.outputs_of(node.output):
        instruction = ins.Dequantize(
            output=output,
            input=lowering.buffer(node, 0),
            wide=type_.dtype is DType.I32,
            scale=lowering.constants.add(np.broadcast_to(scales, (rows, channels))),
            zero=lowering.constants.add(np.broadcast_to(zeros, (rows, channels))),
            step=channels if rows > 1 else 0,
            pixels=pixels,
            channels=channels,
        )
        lowering.emit(node, instruction)


def _quantize(lowering: Lowering, node: Node, op: QuantizeInput) -> None:
    if lowering.root(node.inputs[0]) is not lowering.graph.input:
        raise CompileError("the runtime quantises the network's input only", node.loc)
    shape = node.output.type.shape
    image = len(shape) == 3
    channels = shape[0] if image or len(op.offset) > 1 or len(op.scale) > 1 else 1
    pixels = node.output.type.size // channels
    shift, scale = (
        lowering.constants.add(np.broadcast_to(np.array(v, np.float32), (channels,)))
        for v in (op.offset, op.scale)
    )
    instruction = ins.Quantize(
        output=lowering.made(node.output),
        input=lowering.input,
        shift=shift,
        scale=scale,
        zero=op.quant.per_tensor[1],
        low=op.low,
        high=op.high,
        channels=channels,
        pixels=pixels,
        channel_step=1 if image else pixels,
        pixel_step=channels if image else 1,
    )
    lowering.emit(node, instruction)


def _requantize(lowering: Lowering, node: Node, op: Requantize) -> None:
    factor = parameter(lowering.constant(node, 1, "multiplier"), node.output.type.shape)
    pixels, channels = grid(node.output.type.shape)
    instruction = ins.Requantize(
        output=lowering.made(node.output),
        input=lowering.buffer(node, 0),
        factor=lowering.constants.add(factor),
        factor_step=channels if len(factor) > 1 else 0,
        zero=op.quant.per_tensor[1],
        low=op.low,
        high=op.high,
        pixels=pixels,
        channels=channels,
    )
    lowering.emit(node, instruction)


def _add(lowering: Lowering, node: Node, op: AddQuantized) -> None:
    types = [codes_of(value.type) for value in node.inputs] + [op.quant]
    if any(quant.axis is not None for quant in types):
        raise CompileError("the runtime adds codes of one scale each", node.loc)
    (a_scale, a_zero), (b_scale, b_zero), (scale, zero) = (quant.per_tensor for quant in types)
    instruction = ins.Add(
        output=lowering.made(node.output),
        a=lowering.codes(node, 0),
        b=lowering.codes(node, 1),
        scales=lowering.constants.add(np.array([a_scale, b_scale, scale], np.float32)),
        a_zero=a_zero,
        b_zero=b_zero,
        zero=zero,
        low=op.low,
        high=op.high,
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


def _clamp(lowering: Lowering, node: Node, op: ClampCodes) -> None:
    instruction = ins.Clamp(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        low=op.low,
        high=op.high,
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


def _pool(lowering: Lowering, node: Node, op: MaxPool2d | SumPoolInteger) -> None:
    (channels, height, width), out = node.inputs[0].type.shape, node.output.type.shape
    quant = codes_of(node.inputs[0].type)
    pool = ins.MaxPool if isinstance(op, MaxPool2d) else ins.SumPool
    instruction = pool(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        channels=channels,
        height=height,
        width=width,
        out_height=out[1],
        out_width=out[2],
        kernel_height=op.kernel[0],
        kernel_width=op.kernel[1],
        stride_y=op.stride[0],
        stride_x=op.stride[1],
        top=op.padding[0],
        left=op.padding[1],
        dilation_y=op.dilation[0],
        dilation_x=op.dilation[1],
        zero=quant.per_tensor[1] if isinstance(op, SumPoolInteger) else 0,
    )
    lowering.emit(node, instruction)


def _keep_mask(lowering: Lowering, node: Node, op: KeepMask) -> None:
    pixels, channels = grid(op.shape)
    words = -(-pixels * channels // 4)
    instruction = ins.KeepMask(
        output=lowering.made(node.output),
        scratch=lowering.scratch(node, 8 * words + pixels * channels),
        stream=op.stream,
        threshold=keep_threshold(op.p),
        shared=op.shared,
        channels=channels,
        pixels=pixels,
    )
    lowering.emit(node, instruction)


def _select(lowering: Lowering, node: Node) -> None:
    steps = mask_steps(node.inputs[1].type.shape, node.output.type.shape)
    if steps is None:
        raise CompileError("the runtime has no kernel for a mask of this shape", node.loc)
    (height, width, channels), (step_y, step_x, step_channel) = steps
    instruction = ins.Select(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        mask=lowering.buffer(node, 1),
        zero=codes_of(node.inputs[0].type).per_tensor[1],
        height=height,
        width=width,
        channels=channels,
        step_y=step_y,
        step_x=step_x,
        step_channel=step_channel,
    )
    lowering.emit(node, instruction)


def _reshape(lowering: Lowering, node: Node) -> None:
    """Another name if both shapes lie in row-major order, else through row-major order."""
    source, target = node.inputs[0].type.shape, node.output.type.shape
    if node.output.type.dtype is DType.F32:
        return
    buffer = lowering.buffer(node, 0)
    if source == target:
        lowering.buffers[node.output] = buffer
        return
    item = node.output.type.dtype.numpy.itemsize
    if not same_order(source):
        flat = lowering.room(node.output)
        rows, columns = grid(source)
        lowering.emit(node, ins.Transpose(output=flat, input=buffer, rows=rows, columns=columns,
                                          item=item))  # fmt: skip
        buffer = flat
    if not same_order(target):
        columns, rows = grid(target)
        image = lowering.room(node.output)
        lowering.emit(node, ins.Transpose(output=image, input=buffer, rows=rows, columns=columns,
                                          item=item))  # fmt: skip
        buffer = image
    lowering.buffers[node.output] = buffer
