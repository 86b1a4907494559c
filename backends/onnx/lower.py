"""The nodes of a member as ONNX nodes: alone, or fused with the one that reads them.

In an inline file every node stands alone, because only onnxruntime fuses as its kernels round.
"""

from __future__ import annotations

from qbnnc.backends.onnx import (
    choice,
    elementwise,
    embedding,
    matmul,
    moves,
    normalize,
    pooling,
    requantize,
    softmax,
)
from qbnnc.backends.onnx.contraction import fused_reader, write_accumulators, write_fused
from qbnnc.backends.onnx.sampled_fusion import fuses_in_scan, write_fused_scan
from qbnnc.backends.onnx.sampled_layers import write_sampled_accumulators
from qbnnc.backends.onnx.sampled_operands import is_sampled_layer
from qbnnc.backends.onnx.sampled_weights import sampled_weight
from qbnnc.backends.onnx.scope import Scope, Write
from qbnnc.ir.graph import Node, Value
from qbnnc.ir.ids import id_values
from qbnnc.ir.ops import (
    ChoiceIndex,
    Conv2dInteger,
    EpsCodes,
    KeepMask,
    LinearInteger,
    NoiseCodes,
    Op,
    Part,
    SampledWeightInteger,
)
from qbnnc.ir.types import CONSTANT
from qbnnc.support.errors import CompileError


def write_nodes(scope: Scope) -> None:
    """Write all nodes of the member but its masks and noise, and nodes of earlier members."""
    fused, ids = dict[Node, Node](), _unwritten_ids(scope)
    for node in scope.graph.nodes:
        if isinstance(node.op, Part) or node.output in ids:
            continue  # the file has the input as it is
        scope.writer.place = str(node.loc)
        scope.writer.layer = scope.layer(fused.get(node, node))
        if node.output.type.axes == CONSTANT:
            raise CompileError(f"{node.op.name} of constants alone", node.loc, remedy="fold it")
        reader = _fused_reader(scope, node)
        if scope.take(node.output) or (reader is not None and scope.take(reader.output)):
            continue
        if reader is not None:
            fused[reader] = node
        elif node in fused:
            write = write_fused_scan if is_sampled_layer(fused[node]) else write_fused
            write(scope, fused[node], node)
        else:
            _write_node(scope, node)
    scope.writer.place = scope.writer.layer = ""


def _unwritten_ids(scope: Scope) -> frozenset[Value]:
    """The ids that embeddings take from the input themselves, where it holds nothing else."""
    return id_values(scope.graph) if scope.takes_ids else frozenset()


def _fused_reader(scope: Scope, node: Node) -> Node | None:
    if scope.writer.inline:
        return None
    if is_sampled_layer(node) and not fuses_in_scan(node):
        return None
    return fused_reader(scope.graph, node)


def _write_node(scope: Scope, node: Node) -> None:
    """Write one node by itself."""
    write = WRITERS.get(type(node.op))
    if write is None:
        raise CompileError(f"{node.op.name} has no ONNX form", node.loc)
    write(scope, node, node.op)


def _write_layer(scope: Scope, node: Node, _: Op) -> None:
    write = write_sampled_accumulators if is_sampled_layer(node) else write_accumulators
    write(scope, node)


def _is_input(scope: Scope, node: Node, _: Op) -> None:
    """Write nothing: the file has each of several inputs by itself."""


def _is_drawn(scope: Scope, node: Node, _: Op) -> None:
    """Write nothing: `qbnnc.backends.onnx.random_values` has written masks and noise already."""


WRITERS: dict[type[Op], Write] = {
    **choice.WRITERS,
    **elementwise.WRITERS,
    **embedding.WRITERS,
    **matmul.WRITERS,
    **moves.WRITERS,
    **normalize.WRITERS,
    **pooling.WRITERS,
    **requantize.WRITERS,
    **softmax.WRITERS,
    ChoiceIndex: _is_drawn,
    Conv2dInteger: _write_layer,
    EpsCodes: _is_drawn,
    KeepMask: _is_drawn,
    LinearInteger: _write_layer,
    NoiseCodes: _is_drawn,
    Part: _is_input,
    SampledWeightInteger: sampled_weight,
}
