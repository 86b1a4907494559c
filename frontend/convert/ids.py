"""Ids among the tracked tensors: numbers of the input that embeddings read."""

from __future__ import annotations

from typing import cast

from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.tracked import Activation, IdFunction, Tracked
from qbnnc.frontend.program.nodes import reached_from
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ids import holds_only_ids, id_values, is_embedding
from qbnnc.ir.inputs import input_values
from qbnnc.ir.ops import Part, Rearrangement
from qbnnc.support.errors import CompileError

_TABLES = frozenset("embedding embedding_bag index one_hot".split())


def vocabulary_of(nodes: list[fx.Node], *sources: fx.Node) -> int:
    """The rows of the largest table that is read by what depends on the input; 0 if none is."""
    reached, most = reached_from(nodes, *sources), 0
    for node in nodes:
        if op_name(node) not in _TABLES or node not in reached:
            continue
        table = cast("fx.Node", node.args[0])
        if op_name(node) == "one_hot":
            most = max(most, int(cast(int, node.args[1])) if len(node.args) > 1 else 0)
        elif table not in reached and isinstance(table.meta.get("val"), Tensor):
            rows = table.meta["val"].shape[0] if table.meta["val"].ndim else 0
            most = max(most, rows if isinstance(rows, int) else 0)
    return most


def check_ids(graph: Graph) -> None:
    """CompileError if an input holds ids and other numbers."""
    ids = id_values(graph)
    if any(v in ids and not holds_only_ids(graph, v) for v in input_values(graph)):
        first = next(node for node in graph.nodes if is_embedding(node.op))
        raise CompileError(
            "reads ids of an input that other layers read as numbers",
            first.loc,
            "give the network ids alone, or ids and numbers as two inputs",
        )


def raw_ids(call: Call, tracked: object) -> Value | None:
    """The numbers of the input, moved or not, that a tracked tensor is; None for any other."""
    if not isinstance(tracked, Activation):
        return None
    build, value = call.context.build, tracked.value
    while (made := build.producer(value)) is not None:
        if not isinstance(made.op, Part | Rearrangement):
            return None
        value = made.inputs[0]
    return tracked.value if build.array(value) is None else None


def is_ids(call: Call, tracked: object) -> bool:
    """Whether these are numbers of the input of a network with tables: such an input is whole."""
    return call.context.vocabulary > 0 and raw_ids(call, tracked) is not None


def as_function(call: Call, tracked: Tracked) -> tuple[Value, Tensor | None] | None:
    """Ids of the input and a function of them, None where it is the id itself."""
    if isinstance(tracked, IdFunction):
        return tracked.ids, tracked.members
    ids = raw_ids(call, tracked)
    return None if ids is None else (ids, None)
