"""Calls that the user's program does not make, in the place of one that it makes.

A rule reads the node of its call, with the shapes of its tensors. So a call in the batch-first form
has a node of its own, outside the program's graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape

Nodes: TypeAlias = "fx.Node | Sequence[fx.Node]"


@dataclass(frozen=True, slots=True)
class Given:
    """A tensor argument: the program's node, the shape that the rule shall see, what is known."""

    node: fx.Node
    shape: Shape
    tracked: object


Argument: TypeAlias = "Given | list[Given] | object"


def given_nodes(call: Call) -> dict[str, object]:
    """The arguments of a call by name, as nodes of the program."""
    schema = cast(torch._ops.OpOverload, call.node.target)._schema.arguments
    names = (argument.name for argument in schema)
    found: dict[str, object] = dict(zip(names, call.node.args, strict=False))
    return found | dict(call.node.kwargs)


def made(
    call: Call,
    target: torch._ops.OpOverload,
    arguments: Mapping[str, Argument],
    shape: Shape | Sequence[Shape],
) -> Call:
    """A call of `target` at the place of `call`; `shape` is its result's, or each result's."""
    graph = fx.Graph()
    nodes, known = list[object](), dict[str, object]()
    for each in target._schema.arguments:
        argument = arguments.get(each.name, each.default_value)
        nodes.append(_node(graph, argument))
        known[each.name] = _tracked(argument)
    given = cast("tuple[fx.node.Argument, ...]", tuple(nodes))
    node = graph.create_node("call_function", target, given, {})
    node.meta = dict(call.node.meta) | {"val": _results(call.node.meta["val"], shape)}
    return Call(node, known, call.context)


def _node(graph: fx.Graph, argument: Argument) -> object:
    match argument:
        case Given(node, shape):
            made = graph.placeholder("tensor")
            made.meta = dict(node.meta) | {"val": _empty(node.meta["val"], shape)}
            return made
        case list() if any(isinstance(each, Given) for each in argument):
            return [_node(graph, each) for each in argument]
        case list():
            return [each if isinstance(each, int | float) else None for each in argument]
        case None | bool() | int() | float() | str():
            return argument
        case _:
            return None


def _tracked(argument: Argument) -> object:
    match argument:
        case Given(tracked=tracked):
            return tracked
        case list():
            return [_tracked(each) for each in argument]
        case _:
            return argument


def _results(like: object, shape: Shape | Sequence[Shape]) -> object:
    """The result, or the results, in the element types of those of the user's call."""
    metas = cast("Sequence[Tensor]", [like] if isinstance(like, Tensor) else like)
    if shape and isinstance(shape[0], tuple):
        pairs = zip(metas, cast("Sequence[Shape]", shape), strict=True)
        return tuple(_empty(each, own) for each, own in pairs)
    return _empty(metas[0], cast(Shape, shape))


def _empty(like: Tensor, shape: Shape) -> Tensor:
    return like.new_empty(list(shape))
