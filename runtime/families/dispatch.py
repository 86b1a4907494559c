"""The dispatch of lowering: the function that lowers each INTEGER op."""

from __future__ import annotations

from collections.abc import Sequence

from qbnnc.ir.graph import Node
from qbnnc.ir.ops import Concat, EmbeddingCodes, Move, Part, QuantizeInput, Reshape
from qbnnc.ir.types import DType
from qbnnc.runtime.families.choice import lowering as choice
from qbnnc.runtime.families.contraction import lowering as contraction
from qbnnc.runtime.families.dropout import lowering as dropout
from qbnnc.runtime.families.embedding import lowering as embedding
from qbnnc.runtime.families.masked_layers import lowering as masked_layers
from qbnnc.runtime.families.moves import lowering as moves
from qbnnc.runtime.families.noise import lowering as noise
from qbnnc.runtime.families.normalization import lowering as normalization
from qbnnc.runtime.families.pointwise import lowering as pointwise
from qbnnc.runtime.families.pooling import lowering as pooling
from qbnnc.runtime.families.products import lowering as products
from qbnnc.runtime.families.quantization import lowering as quantization
from qbnnc.runtime.families.sampled_weights import lowering as sampled_weights
from qbnnc.runtime.families.softmax import lowering as softmax
from qbnnc.runtime.lowering import Lower, Lowering
from qbnnc.support.errors import CompileError

LOWERINGS: dict[type, Lower] = {
    **choice.LOWERINGS,
    **contraction.LOWERINGS,
    **dropout.LOWERINGS,
    **embedding.LOWERINGS,
    **moves.LOWERINGS,
    **noise.LOWERINGS,
    **normalization.LOWERINGS,
    **pointwise.LOWERINGS,
    **pooling.LOWERINGS,
    **products.LOWERINGS,
    **quantization.LOWERINGS,
    **sampled_weights.LOWERINGS,
    **softmax.LOWERINGS,
}


def lower_nodes(lowering: Lowering, nodes: Sequence[Node]) -> None:
    """Emit the instructions of some nodes of a graph.

    Raises CompileError, at the node, if no kernel takes its inputs.
    """
    masked = masked_layers.choose(lowering, nodes)
    for node in nodes:
        if node in masked:
            masked_layers.lower(lowering, masked[node])
        elif not lowering.taken_in(node):
            _lower_node(lowering, node)


def _lower_node(lowering: Lowering, node: Node) -> None:
    _expect_codes(lowering, node)
    lower = next((LOWERINGS[kind] for kind in type(node.op).__mro__ if kind in LOWERINGS), None)
    if lower is None:
        raise CompileError(f"the runtime has no kernel for {node.op.name}", node.loc)
    lower(lowering, node, node.op)


def _expect_codes(lowering: Lowering, node: Node) -> None:
    """CompileError if a value between the input and the outputs is float32."""
    if isinstance(node.op, EmbeddingCodes | Part | QuantizeInput | Reshape):
        return
    if isinstance(node.op, Move) and (lowering.moves_ids(node) or lowering.moves_out(node)):
        return
    joins = isinstance(node.op, Concat)
    for value in node.inputs:
        if value.type.dtype is DType.F32 and (joins or value not in lowering.graph.constants):
            raise CompileError(
                f"{node.op.name}: the runtime computes on codes, not on {value.type}", node.loc
            )
