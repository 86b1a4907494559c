"""Ops that move the elements of masks and uniform noise; see `drawn_elements`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, cast

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Moved, Shape, joined
from qbnnc.frontend.convert.tracked import Blend, Fixed, Keep, Result, Row, Uniform

Random = TypeVar("Random", Keep, Blend, Uniform)

MOVES = frozenset(
    "_reshape_copy _unsafe_view alias broadcast_tensors broadcast_to cat chunk concat concatenate "
    "diagonal expand expand_as flatten flip gather hstack index index_select movedim narrow "
    "permute repeat repeat_interleave reshape roll select slice split split_with_sizes squeeze "
    "stack swapaxes swapdims t take tensor_split tile transpose unbind unflatten unsqueeze view "
    "view_as vstack".split()
)


def moved(call: Call) -> Result:
    """A mask or uniform noise with its elements moved; parts of one tensor may be joined."""
    first = next(iter(_among(call.arguments)))
    if not all(_is_like(first, each) for each in _among(call.arguments)):
        call.fail(
            "joins masks of several random tensors or probabilities",
            "draw one mask of the whole shape, or mask the parts before they are joined",
        )
    if isinstance(first, Blend):
        return _blend_moved(call, first)
    if isinstance(first, Keep) and first.others:
        return _product_moved(call, first)
    arguments = {name: _plain(call, value) for name, value in call.arguments.items()}
    return _results(call, first, arguments)


def expanded(call: Call, random: Keep | Blend | Uniform) -> Keep | Blend | Uniform:
    """Repeat a mask or uniform noise along axes of 1, to the shape of an activation."""
    match random:
        case Blend():
            return _expanded(random, call.shape())
        case Keep():
            return _expanded(random, call.shape())
        case Uniform():
            return _expanded(random, call.shape())


def _expanded(random: Random, shape: Shape) -> Random:
    match random:
        case Blend(terms, offset):
            return Blend(tuple(_expanded(term, shape) for term in terms), offset, shape)
        case Keep(others=(_, *_) as others):
            own = _expanded(replace(random, others=()), shape)
            return replace(own, others=tuple(_expanded(other, shape) for other in others))
    target = torch.ops.aten.expand.default
    arguments = {"self": random.drawn, "size": list(shape), "implicit": False}
    return random.moved(Moved(target, arguments), shape)


def _blend_moved(call: Call, blend: Blend) -> Result:
    """Move each term by itself."""
    parts = [_one_moved(call, blend, _expanded(term, blend.shape)) for term in blend.terms]
    if isinstance(parts[0], Keep):
        return Blend(tuple(cast("list[Keep]", parts)), blend.offset, call.shape())
    several = zip(*cast("list[tuple[Keep, ...]]", parts), strict=True)
    return tuple(Blend(terms, blend.offset, terms[0].shape) for terms in several)


def _product_moved(call: Call, product: Keep) -> Result:
    """Move each factor by itself."""
    return _one_moved(call, product, _expanded(product, product.shape))


def _one_moved(call: Call, whole: Keep | Blend, product: Keep) -> Keep | tuple[Keep, ...]:
    """Move a product whose factors have its shape; it is `whole`, or part of it."""
    factors = (replace(product, others=()), *product.others)
    moved = [_factor_moved(call, whole, factor) for factor in factors]
    if isinstance(moved[0], Keep):
        single = cast("list[Keep]", moved)
        return replace(single[0], others=tuple(single[1:]))
    several = zip(*cast("list[tuple[Keep, ...]]", moved), strict=True)
    return tuple(replace(first, others=tuple(others)) for first, *others in several)


def _factor_moved(call: Call, whole: Keep | Blend, factor: Keep) -> Keep | tuple[Keep, ...]:
    def put(value: object) -> object:
        if isinstance(value, list):
            return [put(item) for item in value]
        return factor if value is whole else value

    arguments = {name: _plain(call, put(value)) for name, value in call.arguments.items()}
    return cast("Keep | tuple[Keep, ...]", _results(call, factor, arguments))


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


def _among(arguments: Mapping[str, object]) -> list[Keep | Blend | Uniform]:
    values = (v for a in arguments.values() for v in (a if isinstance(a, list) else [a]))
    return [value for value in values if isinstance(value, Keep | Blend | Uniform)]


def _is_like(first: Keep | Blend | Uniform, other: Keep | Blend | Uniform) -> bool:
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
