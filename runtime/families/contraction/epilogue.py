"""The fields of a layer that do not depend on its window: bias, epilogue and output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ops import Dequantize, Requantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, DType, TensorType
from qbnnc.runtime.families.choice.packed import choose, sums_of_choices
from qbnnc.runtime.families.contraction.instructions import Epilogue
from qbnnc.runtime.families.parameters import operand
from qbnnc.runtime.families.sampled_weights.instructions import FoldBias
from qbnnc.runtime.layout import grid, parameter
from qbnnc.runtime.lowering import Leaving, Lowering
from qbnnc.runtime.packing import Layout, offline_terms, per_channel
from qbnnc.runtime.program import Buffer


@dataclass(frozen=True, slots=True)
class End:
    """The end of the accumulators, and the buffer that they go to.

    `factor` has one number, or one for each channel. Results lie as [pixels, channels] (channels
    last) or [channels, pixels].
    """

    epilogue: Epilogue
    output: Buffer
    factor: Array
    zero: int = 0
    low: int = 0
    high: int = 0
    channels_last: bool = True


class Common(TypedDict):
    """The fields of a Layer that do not depend on its window, typed so that `**` is checked."""

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


def common(
    lowering: Lowering, node: Node, layout: Layout, weights: Buffer, scratch: int, *, folded: bool
) -> Common:
    """Make the common fields of a layer.

    `weights` are constant or computed, in the layout. `scratch` is in bytes.
    """
    end, add = end_of(lowering, node, layout.padded - layout.filters), lowering.constants.add
    weight_zero = np.array(codes_of(node.inputs[1].type).zero_point, np.int32)
    height, width = extents(node.inputs[0].type)
    out_height, out_width = extents(node.output.type)
    return Common(
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
        channel_step=1 if end.channels_last else out_height * out_width,
        pixel_step=node.output.type.shape[0] if end.channels_last else 1,
        height=height,
        width=width,
        pad_code=codes_of(node.inputs[0].type).per_tensor[1],
    )


def _bias(
    lowering: Lowering, node: Node, weights: Buffer, layout: Layout, *, folded: bool
) -> Buffer:
    """Add the terms of the zero points to the bias.

    An instruction does that if something is sampled, and a choice between whole sums if the weight
    is one between constants.
    """
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
    stride, axes = 4 * of_bias.size, weight.type.axes | bias.type.axes
    if (sums := sums_of_choices(lowering, node, zero, input_zero)) is not None:
        choice, whole = sums
        packed = np.stack([per_channel(each, of_bias) for each in whole])
        output = Buffer(f"{node.output.name} bias", stride, axes)
        lowering.emit(node, choose(lowering, choice, output, packed))
        return output
    raw = operand(lowering, node, 2, of_bias)
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


def extents(type: TensorType) -> tuple[int, int]:
    """Return (height, width) of a value; one that is no image has one pixel."""
    return (type.shape[1], type.shape[2]) if len(type.shape) == 3 else (1, 1)


def requantized(lowering: Lowering, node: Node) -> tuple[Value, Requantize, Array] | None:
    """Return value, op and multipliers of a Requantize that a layer can absorb, or None.

    The multipliers are [channels] or [1].
    """
    reader = lowering.only_reader(node.output)
    if reader is None or not isinstance(reader.op, Requantize):
        return None
    factor = lowering.graph.constants.get(reader.inputs[1])
    if factor is None or len(whole := parameter(factor, node.output.type.shape)) != 1:
        return None
    return reader.output, reader.op, whole[0]


def end_of(lowering: Lowering, node: Node, more: int) -> End:
    """Absorb the reader if it is the only one, with one factor or one for each channel.

    Codes may be stored up to `more` bytes beyond the end.
    """
    shape = node.output.type.shape
    reader = lowering.only_reader(node.output)
    if reader is not None and (found := requantized(lowering, node)) is not None:
        lowering.take_in(reader)
        codes, op, factor = found
        zero = op.quant.per_tensor[1]
        output = lowering.made(codes, more)
        return End(Epilogue.REQUANTIZE, output, factor, zero, op.low, op.high)
    match reader.op if reader is not None else None:
        case Dequantize() if reader is not None:
            outputs = lowering.outputs_of(reader.output)
            scale = codes_of(node.output.type).scale_array(len(shape))
            whole = parameter(scale, shape)
            if len(outputs) == 1 and len(whole) == 1 and not lowering.is_output(node.output):
                last = _is_channels_last(outputs[0], shape)
                if last is not None:
                    lowering.take_in(reader)
                    buffer = outputs[0].buffer
                    return End(Epilogue.DEQUANTIZE, buffer, whole[0], channels_last=last)
        case _:
            pass
    assert node.output.type.dtype is DType.I32
    output = lowering.made(node.output)
    return End(Epilogue.ACCUMULATOR, output, np.zeros(1, np.float32))


def _is_channels_last(output: Leaving, shape: tuple[int, ...]) -> bool | None:
    """Tell whether an output is [pixels, channels] of this shape.

    False: it is in row-major order. None: it is in another order.
    """
    if output.order is None:
        return False
    pixels, channels = grid(shape)
    turned = np.arange(pixels * channels).reshape(channels, pixels).T.reshape(-1)
    return True if np.array_equal(output.order, turned) else None
