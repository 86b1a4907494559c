"""The lowering of pooling."""

from __future__ import annotations

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import MaxPool2d, MaxUnpool, SumPoolInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.runtime.families.pooling import instructions as ins
from qbnnc.runtime.layout import CODES
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(MaxPool2d, SumPoolInteger)
def pool(lowering: Lowering, node: Node, op: MaxPool2d | SumPoolInteger) -> None:
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


@LOWERINGS.of(MaxUnpool)
def unpool(lowering: Lowering, node: Node, op: MaxUnpool) -> None:
    channels, height, width = node.inputs[0].type.shape
    instruction = ins.MaxUnpool(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        image=lowering.codes(node, 1),
        channels=channels,
        height=height,
        width=width,
        kernel_height=op.kernel[0],
        kernel_width=op.kernel[1],
        zero=codes_of(node.inputs[0].type).per_tensor[1],
    )
    lowering.emit(node, instruction)
