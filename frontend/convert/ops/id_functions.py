"""Functions of ids: ids compared with constants, ids plus offsets, masks of padding.

Such a function is known for every id of the vocabulary, so that it is a table. It is run once on
all ids, as the rows of a batch. Where it meets an activation, an embedding reads that table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import cast

import numpy as np
import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ids import as_function, raw_ids
from qbnnc.frontend.convert.ops.element_moves import rearranged
from qbnnc.frontend.convert.tracked import (
    Activation,
    Constant,
    Filled,
    IdFunction,
    Tracked,
    tracked_among,
)
from qbnnc.frontend.program.random_ops import op_name

_MOST_ELEMENTS = 1 << 26  # of a function on all ids, at all places
_JOINING = frozenset("cat constant_pad_nd pad".split())
_BY_ELEMENT = frozenset(
    "eq ne lt gt le ge add sub rsub mul clamp clamp_min clamp_max maximum minimum where "
    "logical_not bitwise_not logical_and logical_or bitwise_and bitwise_or floor_divide "
    "remainder abs masked_fill isin _to_copy to __and__ __or__".split()
)


def is_function(call: Call) -> bool:
    """Whether an op computes from ids and constants alone, element by element."""
    name = op_name(call.node)
    if not call.context.vocabulary or name not in _BY_ELEMENT | _JOINING:
        return False
    whole, inputs = _whole_arguments(call), list(tracked_among(call.arguments))
    if name in _JOINING and not _adds_ids(call, inputs):
        return False
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
    pairs = list[tuple[object, object]]()
    for name, node in given.items():
        known = call.arguments[name]
        if isinstance(node, list | tuple):
            pairs += zip(node, cast("Sequence[object]", known), strict=True)
        else:
            pairs.append((node, known))
    return [
        (node, known)
        for node, known in pairs
        if isinstance(node, fx.Node) and isinstance(known, Tracked)
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
    members = _run(call, {name: _plain(call, each) for name, each in call.arguments.items()})
    if op_name(call.node) in _JOINING:
        source = _run(call, {k: _places(call, each) for k, each in call.arguments.items()})[0]
        value = rearranged(call, value, source.numpy().astype(np.int64) - 1)
    if tuple(members.shape) != (count, *value.type.shape):
        return None
    return IdFunction(value, members)


def _run(call: Call, arguments: Mapping[str, object]) -> Tensor:
    with torch.no_grad():
        return cast(Tensor, cast(torch._ops.OpOverload, call.node.target)(**arguments))


def _adds_ids(call: Call, inputs: Sequence[Tracked]) -> bool:
    """Whether constant ids stand beside those of the input: what only adds zeros is a move."""
    if op_name(call.node) == "cat":
        return any(isinstance(each, Constant | Filled) for each in inputs)
    return bool(call.arguments.get("value"))


def _places(call: Call, argument: object) -> object:
    """An argument with the numbers of the places of the ids, from 1 on, in one row; else 0."""
    match argument:
        case IdFunction(ids) | Activation(ids):
            shape = ids.type.shape
            return torch.arange(1, prod(shape) + 1).reshape(1, *shape)
        case Constant(tensor):
            return torch.zeros_like(tensor)
        case Filled(shape):
            return torch.zeros([1, *map(int, shape[1:])], dtype=torch.int64)
        case list():
            return [_places(call, item) for item in argument]
        case float():
            return 0.0  # what a pad puts around
        case _:
            return argument


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
