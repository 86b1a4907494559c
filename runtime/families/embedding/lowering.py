"""The lowering of embeddings, which read the ids of the input themselves."""

from __future__ import annotations

import numpy as np

from qbnnc.ir.graph import Node
from qbnnc.ir.ids import id_places
from qbnnc.ir.ops import EmbeddingCodes
from qbnnc.runtime.families.embedding import instructions as ins
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.errors import CompileError
from qbnnc.support.table import Table

LOWERINGS = Table[type, Lower]()


@LOWERINGS.of(EmbeddingCodes)
def embed(lowering: Lowering, node: Node, op: EmbeddingCodes) -> None:
    """Emit one instruction; what moves the ids before it is in its index."""
    source = id_places(lowering.graph).get(node.inputs[0])
    if source is None:
        raise CompileError("the runtime takes ids of the network's input only", node.loc)
    table, shape = lowering.constant(node, 1, "table"), node.output.type.shape
    planes = shape[0] if len(shape) == 3 else 1
    instruction = ins.Embed(
        output=lowering.made(node.output),
        input=lowering.input,
        index=lowering.constants.add(source.reshape(-1).astype(np.int32)),
        table=lowering.constants.add(table),
        rows=len(table),
        width=shape[-1],
        planes=planes,
        lines=source.size // planes,
    )
    lowering.emit(node, instruction)
