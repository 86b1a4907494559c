"""The lowering of products of two computed matrices."""

from __future__ import annotations

from math import prod

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import MatMulInteger
from qbnnc.ir.ops.base import codes_of
from qbnnc.runtime.families.pointwise.lowering import requantized_by_one
from qbnnc.runtime.families.products import instructions as ins
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(MatMulInteger)
def mat_mul(lowering: Lowering, node: Node, op: MatMulInteger) -> None:
    """Emit a MatMul; it absorbs a Requantize that alone reads it and has one multiplier."""
    a, b = (value.type for value in node.inputs)
    *outer, height, depth = a.shape
    width = node.output.type.shape[-1]
    buffers = [lowering.codes(node, index) for index in (0, 1)]
    a_count, a_line, a_depth = _steps(a.shape)
    b_count, *b_steps = _steps(b.shape)
    b_line, b_depth = b_steps if op.transposed else reversed(b_steps)
    requantize = requantized_by_one(lowering, node)
    into, output, factor = requantize or (None, lowering.made(node.output), 0)
    instruction = ins.MatMul(
        output=output,
        a=buffers[0],
        b=buffers[1],
        scratch=lowering.scratch(node, ins.packed_bytes(height, width, depth)),
        requantize=into is not None,
        factor=factor,
        a_zero=codes_of(a).per_tensor[1],
        b_zero=codes_of(b).per_tensor[1],
        zero=0 if into is None else into.quant.per_tensor[1],
        low=0 if into is None else into.low,
        high=0 if into is None else into.high,
        count=prod(outer),
        height=height,
        width=width,
        depth=depth,
        a_step_count=a_count,
        a_step_line=a_line,
        a_step_depth=a_depth,
        b_step_count=b_count,
        b_step_line=b_line,
        b_step_depth=b_depth,
        interleaved=len(outer) == 1,
    )
    lowering.emit(node, instruction)


def _steps(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The steps in elements from one matrix, line and column of a value to the next."""
    *outer, lines, columns = shape
    if len(outer) == 1:  # three axes lie in the order (1, 2, 0)
        return 1, columns * outer[0], outer[0]
    return lines * columns, columns, 1
