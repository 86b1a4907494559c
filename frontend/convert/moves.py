"""Ops that move the elements of masks and uniform noise; see drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.drawn import Moved, Shape, joined
from qbnnc.frontend.convert.values import Fixed, Keep, Result, Row, Uniform
from qbnnc.frontend.randomness import op_name

MOVES = frozenset(
    "_reshape_copy _unsafe_view alias broadcast_tensors broadcast_to cat chunk concat concatenate "
    "diagonal expand expand_as flatten flip gather hstack index index_select movedim narrow "
    "permute repeat repeat_interleave reshape roll select slice split split_with_sizes squeeze "
    "stack swapaxes swapdims t take tensor_split tile transpose unbind unflatten unsqueeze view "
    "view_as vstack".split()
)


def moved(call: Call) -> Result:
    """A mask or uniform noise whose elements lie elsewhere; parts of one tensor may be joined."""
    first = next(iter(_among(call.arguments)))
    if not all(_is_like(first, each) for each in _among(call.arguments)):
        call.fail(
            "joins masks of several random tensors or probabilities; draw one mask of the whole "
            "shape, or mask the parts before they are joined"
        )
    if isinstance(first, Keep) and first.others:
        return _product_moved(call, first)
    arguments = {name: _plain(call, value) for name, value in call.arguments.items()}
    return _results(call, first, arguments)


def expanded(call: Call, random: Keep | Uniform) -> Keep | Uniform:
    """Repeated along axes of length 1, to the shape of an activation."""
    target, shape = torch.ops.aten.expand.default, call.shape()
    if isinstance(random, Keep) and random.others:
        return replace(random, shape=shape)
    arguments = {"self": random.drawn, "size": list(shape), "implicit": False}
    return random.moved(Moved(target, arguments), shape)


def _product_moved(call: Call, product: Keep) -> Result:
    """Only a product that keeps its shape, and one that is repeated, stays a product."""
    if call.shape() == product.shape or op_name(call.node) in ("expand", "expand_as"):
        return replace(product, shape=call.shape())
    call.fail("moves the elements of a product of masks; move each of them, then multiply")


def _results(
    call: Call, first: Keep | Uniform, arguments: Mapping[str, object]
) -> Keep | Uniform | tuple[Keep | Uniform, ...]:
    target, meta = cast(torch._ops.OpOverload, call.node.target), call.node.meta["val"]
    drawn = joined(arguments)
    if drawn is None:
        call.fail("is given masks of several random tensors")
    if not isinstance(meta, list | tuple):
        return first.moved(Moved(target, arguments), call.shape())
    return tuple(
        first.moved(Moved(target, arguments, item), _shape(part)) for item, part in enumerate(meta)
    )


def _shape(tensor: torch.Tensor) -> Shape:
    return tuple(tensor.shape)


def _among(arguments: Mapping[str, object]) -> list[Keep | Uniform]:
    values = (v for a in arguments.values() for v in (a if isinstance(a, list) else [a]))
    return [value for value in values if isinstance(value, Keep | Uniform)]


def _is_like(first: Keep | Uniform, other: Keep | Uniform) -> bool:
    """Whether both are the same function of elements of one draw."""
    match first, other:
        case Keep(a, _, p, scale, low, ()), Keep(b, _, q, factor, lower, ()):
            return a.source is b.source and (p, scale, low) == (q, factor, lower)
        case Uniform(a, _, scale, offset), Uniform(b, _, factor, shift):
            return a.source is b.source and (scale, offset) == (factor, shift)
        case _:
            return first is other


def _plain(call: Call, value: object) -> object:
    match value:
        case Keep() | Uniform():
            return value.drawn
        case Fixed(tensor):
            return tensor
        case Row():
            call.fail("moves the elements of a mask to where an activation says")
        case list():
            return [_plain(call, item) for item in value]
        case _:
            return value
