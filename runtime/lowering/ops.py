"""Each INTEGER op as instructions: which function does it, and the codes in, between and out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import (
    AddQuantized,
    ClampCodes,
    Concat,
    Conv2dInteger,
    Dequantize,
    EpsCodes,
    KeepMask,
    LinearInteger,
    Lookup,
    LookupReal,
    MaxPool2d,
    Move,
    MultiplyInteger,
    QuantizeInput,
    Requantize,
    Reshape,
    SampledWeightInteger,
    Select,
    SumPoolInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, DType
from qbnnc.runtime import instructions as ins
from qbnnc.runtime.layout import grid, parameter
from qbnnc.runtime.lowering import Lowering, moves, pointwise, sampling
from qbnnc.runtime.lowering.contraction import convolve
from qbnnc.runtime.packing import CODES
from qbnnc.support.errors import CompileError


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
        case MaxPool2d() | SumPoolInteger() as op:
            _pool(lowering, node, op)
        case AddQuantized() as op:
            pointwise.add(lowering, node, op)
        case MultiplyInteger():
            pointwise.multiply(lowering, node)
        case ClampCodes() as op:
            pointwise.clamp(lowering, node, op)
        case Lookup():
            pointwise.lookup(lowering, node)
        case LookupReal():
            pointwise.lookup_real(lowering, node)
        case KeepMask() as op:
            pointwise.keep_mask(lowering, node, op)
        case Select():
            pointwise.select(lowering, node)
        case EpsCodes() as op:
            sampling.eps_codes(lowering, node, op)
        case SampledWeightInteger() as op:
            sampling.sampled_weight(lowering, node, op)
        case Reshape():
            moves.reshape(lowering, node)
        case Move() as op:
            moves.move(lowering, node, op)
        case Concat() as op:
            moves.concat(lowering, node, op)
        case op:
            raise CompileError(f"the runtime has no kernel for {op.name}", node.loc)


def _refuse_reals(lowering: Lowering, node: Node) -> None:
    """float32 values are the input and the outputs, and nothing between."""
    if isinstance(node.op, QuantizeInput | Reshape):
        return
    if isinstance(node.op, Move) and lowering.moves_out(node):
        return
    joins = isinstance(node.op, Concat)
    for value in node.inputs:
        if value.type.dtype is DType.F32 and (joins or value not in lowering.graph.constants):
            raise CompileError(
                f"{node.op.name}: the runtime computes on codes, not on {value.type}", node.loc
            )


def _dequantize(lowering: Lowering, node: Node) -> None:
    """One instruction for each output that this is, perhaps moved."""
    type_ = node.inputs[0].type
    quant, rank = codes_of(type_), len(type_.shape)
    for leaving in lowering.outputs_of(node.output):
        source, pixels, channels = moves.leaving(lowering, node, leaving)
        scales, zeros = (
            _each_element(array, type_.shape, leaving.order)
            for array in (quant.scale_array(rank), quant.zero_point_array(rank))
        )
        rows = max(len(scales), len(zeros))
        instruction = ins.Dequantize(
            output=leaving.buffer,
            input=source,
            item={DType.I32: 4, DType.I8: -1}.get(type_.dtype, 1),
            scale=lowering.constants.add(np.broadcast_to(scales, (rows, channels))),
            zero=lowering.constants.add(np.broadcast_to(zeros, (rows, channels))),
            step=channels if rows > 1 else 0,
            pixels=pixels,
            channels=channels,
        )
        lowering.emit(node, instruction)


def _each_element(array: Array, shape: tuple[int, ...], order: NDArray[np.int64] | None) -> Array:
    """A parameter as [pixels or 1, channels] of what leaves in this order."""
    if order is None:
        return parameter(array, shape)
    return np.broadcast_to(array, shape).reshape(-1)[order][None]


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


def _pool(lowering: Lowering, node: Node, op: MaxPool2d | SumPoolInteger) -> None:
    (channels, height, width), out = node.inputs[0].type.shape, node.output.type.shape
    quant = codes_of(node.inputs[0].type)
    pool = ins.MaxPool if isinstance(op, MaxPool2d) else ins.SumPool
    instruction = pool(
        output=lowering.made(node.output, CODES),
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
