"""Functions of ids: ids compared with constants, ids plus offsets, masks of padding.

Such a function is known for every id of the vocabulary, so that it is a table. It is run once on
all ids, as the rows of a batch. Where it meets an activation, an embedding reads that table.
"""

from __future__ import annotations

from math import prod
from typing import cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.tracked import (
    Activation,
    Constant,
    Filled,
    IdFunction,
    Tracked,
    tracked_among,
)
from qbnnc.frontend.program.nodes import reached_from
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Graph, Value
from qbnnc.ir.ids import holds_only_ids, id_values, is_embedding
from qbnnc.ir.inputs import input_values
from qbnnc.ir.ops import Part, Rearrangement
from qbnnc.support.errors import CompileError

_MOST_ELEMENTS = 1 << 26  # of a function on all ids, at all places
_TABLES = frozenset("embedding embedding_bag index one_hot".split())
_BY_ELEMENT = frozenset(
    "eq ne lt gt le ge add sub rsub mul clamp clamp_min clamp_max maximum minimum where "
    "logical_not bitwise_not logical_and logical_or bitwise_and bitwise_or floor_divide "
    "remainder abs masked_fill isin _to_copy to __and__ __or__".split()
)


def vocabulary_of(nodes: list[fx.Node], source: fx.Node) -> int:
    """The rows of the largest table that is read by what depends on the input; 0 if none is."""
    reached, most = reached_from(nodes, source), 0
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


def is_function(call: Call) -> bool:
    """Whether an op computes from ids and constants alone, element by element."""
    if not call.context.vocabulary or op_name(call.node) not in _BY_ELEMENT:
        return False
    whole = _whole_arguments(call)
    inputs = list(tracked_among(call.arguments))
    known = all(isinstance(each, Constant | Filled) or each in whole for each in inputs)
    return known and bool(whole)


def _whole_arguments(call: Call) -> list[Tracked]:
    """The arguments that are ids, or functions of ids."""
    whole = list[Tracked]()
    for node, tracked in _tensors(call):
        value = node.meta.get("val")
        if isinstance(tracked, IdFunction) or (
            isinstance(value, Tensor)
            and not value.is_floating_point()
            and raw_ids(call, tracked) is not None
        ):
            whole.append(tracked)
    return whole


def _tensors(call: Call) -> list[tuple[fx.Node, Tracked]]:
    """The tensor arguments of a call: their nodes, and what is known of them."""
    target = cast(torch._ops.OpOverload, call.node.target)
    names = [argument.name for argument in target._schema.arguments]
    given = dict(zip(names, call.node.args, strict=False)) | dict(call.node.kwargs)
    return [
        (node, cast(Tracked, call.arguments[name]))
        for name, node in given.items()
        if isinstance(node, fx.Node) and isinstance(call.arguments[name], Tracked)
    ]


def function(call: Call) -> Tracked | None:
    """The function that an op makes of ids; None if it is none of the same ids, by element."""
    inputs = [as_function(call, each) for each in _whole_arguments(call)]
    ids = {found[0] for found in inputs if found is not None}
    if len(ids) != 1:
        return None
    (value,) = ids
    shape, count = value.type.shape, call.context.vocabulary
    if count * prod(shape) > _MOST_ELEMENTS:
        call.fail(
            f"computes with {count} ids at {prod(shape)} places, which is too large a table",
            "shorten the rows, or give the result as an input of its own",
        )
    arguments = {name: _plain(call, each) for name, each in call.arguments.items()}
    with torch.no_grad():
        result = cast(torch._ops.OpOverload, call.node.target)(**arguments)
    if not isinstance(result, Tensor) or tuple(result.shape) != (count, *shape):
        return None
    return IdFunction(value, result)


def _plain(call: Call, argument: object) -> object:
    """An argument for a batch whose rows are all ids, one each."""
    count = call.context.vocabulary
    match argument:
        case IdFunction(_, members):
            return members
        case Activation(value):
            numbers = torch.arange(count).reshape(count, *[1] * len(value.type.shape))
            return numbers.expand(count, *value.type.shape)
        case Constant(tensor):
            return tensor
        case Filled(shape):
            return argument.tensor([count if call.context.is_batch(n) else int(n) for n in shape])
        case torch.SymInt() if call.context.is_batch(argument):
            return count
        case list():
            return [_plain(call, item) for item in argument]
        case _:
            return argument
