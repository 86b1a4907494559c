"""The lowering of pointwise ops."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import (
    ClampCodes,
    Lookup,
    LookupReal,
    MultiplyInteger,
    PairwiseQuantized,
    Requantize,
    SumOfProductsInteger,
)
from qbnnc.ir.ops.base import codes_of
from qbnnc.ir.ops.sum_of_products import is_state
from qbnnc.runtime.families.moves.lowering import broadcast, leaving
from qbnnc.runtime.families.pointwise import instructions as ins
from qbnnc.runtime.layout import broadcast_steps
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.runtime.program import Buffer
from qbnnc.support.errors import CompileError
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()
_PAIRWISE = {instruction.__name__: instruction for instruction in ins.PAIRWISE}
_BYTES = 256  # values of a byte


@LOWERINGS.of(PairwiseQuantized)
def pairwise(lowering: Lowering, node: Node, op: PairwiseQuantized) -> None:
    types = [codes_of(value.type) for value in node.inputs] + [op.quant]
    if any(quant.axis is not None for quant in types):
        raise CompileError("the runtime takes pairs of codes of one scale each", node.loc)
    (a_scale, a_zero), (b_scale, b_zero), (scale, zero) = (quant.per_tensor for quant in types)
    instruction = _PAIRWISE[op.simulated().__name__](
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


@LOWERINGS.of(MultiplyInteger)
def multiply(lowering: Lowering, node: Node, op: MultiplyInteger) -> None:
    """Emit a Multiply; it absorbs a Requantize that alone reads it and has one multiplier."""
    shape, zeros = node.output.type.shape, [codes_of(v.type).per_tensor[1] for v in node.inputs]
    buffers = [lowering.codes(node, index) for index in (0, 1)]
    shapes = tuple(value.type.shape for value in node.inputs)
    found = broadcast_steps(shapes, shape)
    if found is None:
        buffers = [broadcast(lowering, node, index, shape) for index in (0, 1)]
        found = broadcast_steps((shape, shape), shape)
        assert found is not None
    extents, (a_steps, b_steps) = found
    requantize = requantized_by_one(lowering, node)
    into, output, factor = requantize or (None, lowering.made(node.output), 0)
    instruction = ins.Multiply(
        output=output,
        a=buffers[0],
        b=buffers[1],
        requantize=into is not None,
        factor=factor,
        a_zero=zeros[0],
        b_zero=zeros[1],
        zero=0 if into is None else into.quant.per_tensor[1],
        low=0 if into is None else into.low,
        high=0 if into is None else into.high,
        height=extents[0],
        width=extents[1],
        channels=extents[2],
        a_step_y=a_steps[0],
        a_step_x=a_steps[1],
        a_step_channel=a_steps[2],
        b_step_y=b_steps[0],
        b_step_x=b_steps[1],
        b_step_channel=b_steps[2],
    )
    lowering.emit(node, instruction)


@LOWERINGS.of(SumOfProductsInteger)
def sum_of_products(lowering: Lowering, node: Node, op: SumOfProductsInteger) -> None:
    """Emit a SumOfProducts; without a second product it names the first one's operands again."""
    types = [value.type for value in node.inputs]
    states = [is_state(type_) for type_ in types]
    buffers = [
        lowering.buffer(node, index) if state else lowering.codes(node, index)
        for index, state in enumerate(states)
    ]
    zeros = [codes_of(type_).per_tensor[1] for type_ in types]
    factors = lowering.constants.add(np.array(op.factors(tuple(types)), np.float32))
    second = slice(2, 4) if len(types) == 4 else slice(0, 2)
    (c, d), (c_zero, d_zero) = buffers[second], zeros[second]
    instruction = ins.SumOfProducts(
        output=lowering.made(node.output),
        a=buffers[0],
        b=buffers[1],
        c=c,
        d=d,
        second=len(types) == 4,
        b_state=states[1],
        d_state=states[second][1],
        factors=factors,
        a_zero=zeros[0],
        b_zero=zeros[1],
        c_zero=c_zero,
        d_zero=d_zero,
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


@LOWERINGS.of(ClampCodes)
def clamp(lowering: Lowering, node: Node, op: ClampCodes) -> None:
    instruction = ins.Clamp(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        low=op.low,
        high=op.high,
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


@LOWERINGS.of(Lookup)
def lookup(lowering: Lowering, node: Node, op: Lookup) -> None:
    instruction = ins.Lookup(
        output=lowering.made(node.output),
        input=lowering.codes(node, 0),
        table=_table(lowering, node),
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)


@LOWERINGS.of(LookupReal)
def lookup_real(lowering: Lowering, node: Node, op: LookupReal) -> None:
    """Emit one instruction for each output that is this value, perhaps moved."""
    table = _table(lowering, node)
    lowering.codes(node, 0)
    for output in lowering.outputs_of(node.output):
        source, pixels, channels = leaving(lowering, node, output)
        instruction = ins.LookupReal(
            output=output.buffer, input=source, table=table, pixels=pixels, channels=channels
        )
        lowering.emit(node, instruction)


def requantized_by_one(lowering: Lowering, node: Node) -> tuple[Requantize, Buffer, int] | None:
    """Absorb the reader: return (op, its output, its multiplier), or None."""
    reader = lowering.only_reader(node.output)
    if reader is None or not isinstance(reader.op, Requantize):
        return None
    factor = lowering.graph.constants.get(reader.inputs[1])
    if factor is None or (factor != factor.flat[0]).any():
        return None
    lowering.take_in(reader)
    first = lowering.constants.add(factor.reshape(-1)[:1])
    return reader.op, lowering.made(reader.output), first


def _table(lowering: Lowering, node: Node) -> int:
    """Make a table with an entry for every byte, so that no code leads beyond it."""
    table = lowering.constant(node, 1, "table").reshape(-1)
    return lowering.constants.add(np.pad(table, (0, _BYTES - table.size), mode="edge"))
