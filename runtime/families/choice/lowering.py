"""The lowering of choices between constants."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Choice, ChoiceIndex
from qbnnc.ir.types import DType
from qbnnc.runtime.families.choice import instructions as ins
from qbnnc.runtime.families.choice.packed import choose
from qbnnc.runtime.families.parameters import in_memory
from qbnnc.runtime.layout import to_memory
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(ChoiceIndex)
def choice_index(lowering: Lowering, node: Node, op: ChoiceIndex) -> None:
    instruction = ins.ChoiceIndex(
        output=lowering.made(node.output), stream=op.stream, choices=op.count, shared=op.shared
    )
    lowering.emit(node, instruction)


@LOWERINGS.of(Choice)
def choice(lowering: Lowering, node: Node, op: Choice) -> None:
    """Emit chosen codes of an activation; a weight or bias is emitted where a layer reads it."""
    value = node.output
    if value.type.dtype is not DType.U8:
        in_memory(lowering, node)
        return
    values = lowering.constant(node, 0, "set of values")
    whole = to_memory(values, value.type.shape).reshape(len(values), -1)
    lowering.emit(node, choose(lowering, node, lowering.made(value), np.ascontiguousarray(whole)))
