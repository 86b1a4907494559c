"""The lowering of noise and sampled weights."""

from __future__ import annotations

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import EpsCodes, SampledWeightInteger
from qbnnc.runtime.families.moves.instructions import Transpose
from qbnnc.runtime.families.parameters import in_memory
from qbnnc.runtime.families.sampled_weights import instructions as ins
from qbnnc.runtime.families.sampled_weights.noise import noise_form
from qbnnc.runtime.families.sampled_weights.packed import drawn_with_weight
from qbnnc.runtime.isa import chosen
from qbnnc.runtime.layout import grid, same_order
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(EpsCodes)
def eps_codes(lowering: Lowering, node: Node, op: EpsCodes) -> None:
    """Emit noise in row-major order, unless a DrawWeight draws it."""
    if drawn_with_weight(lowering, node):
        return
    straight = same_order(op.shape)
    drawn = lowering.made(node.output) if straight else lowering.new_buffer(node.output)
    instruction = ins.EpsCodes(
        output=drawn,
        scratch=lowering.scratch(node, noise_form(chosen()).quad),
        table=lowering.constants.add(noise_form(chosen()).table()),
        stream=op.stream,
        size=node.output.type.size,
    )
    lowering.emit(node, instruction)
    if not straight:
        columns, rows = grid(op.shape)
        turned = lowering.made(node.output)
        lowering.emit(
            node, Transpose(output=turned, input=drawn, rows=rows, columns=columns, item=1)
        )


@LOWERINGS.of(SampledWeightInteger)
def sampled_weight(lowering: Lowering, node: Node, op: SampledWeightInteger) -> None:
    """Emit a weight or bias, unless layers alone read it and emit it in the order they need."""
    in_memory(lowering, node)
