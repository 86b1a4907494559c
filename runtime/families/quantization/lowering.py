"""The lowering of quantisation: of the input, of accumulators, and to the outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Dequantize, Part, QuantizeInput, Requantize
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.types import Array, DType
from qbnnc.runtime.families.moves.lowering import leaving as leaving_of
from qbnnc.runtime.families.quantization import instructions as ins
from qbnnc.runtime.layout import grid, parameter
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.errors import CompileError
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(QuantizeInput)
def quantize(lowering: Lowering, node: Node, op: QuantizeInput) -> None:
    source = lowering.input_at(lowering.root(node.inputs[0]))
    if source is None:
        raise CompileError("the runtime quantises the network's inputs only", node.loc)
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
        input=source,
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


@LOWERINGS.of(Part)
def part(lowering: Lowering, node: Node, op: Part) -> None:
    """Emit nothing: what reads an input reads the row, from the input's first number on."""
    if lowering.is_output(node.output):
        raise CompileError(
            "an input leaves the network as it is",
            node.loc,
            remedy="leave it out of what forward returns",
        )


@LOWERINGS.of(Requantize)
def requantize(lowering: Lowering, node: Node, op: Requantize) -> None:
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


@LOWERINGS.of(Dequantize)
def dequantize(lowering: Lowering, node: Node, op: Dequantize) -> None:
    """Emit one instruction for each output that is this value, perhaps moved."""
    type_ = node.inputs[0].type
    quant, rank = codes_of(type_), len(type_.shape)
    for leaving in lowering.outputs_of(node.output):
        source, pixels, channels = leaving_of(lowering, node, leaving)
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
    """Bring a parameter into the order of an output: [pixels or 1, channels]."""
    if order is None:
        return parameter(array, shape)
    return np.broadcast_to(array, shape).reshape(-1)[order][None]
