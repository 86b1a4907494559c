"""Ops that move the elements of masks and uniform noise; see `drawn_elements`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar, cast

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Moved, Shape, joined
from qbnnc.frontend.convert.tracked import (
    Activation,
    Constant,
    DropoutMask,
    MaskSum,
    Result,
    Uniform,
)

Random = TypeVar("Random", DropoutMask, MaskSum, Uniform)

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
    if isinstance(first, MaskSum):
        return _blend_moved(call, first)
    if isinstance(first, DropoutMask) and first.others:
        return _product_moved(call, first)
    arguments = {name: _plain(call, value) for name, value in call.arguments.items()}
    return _results(call, first, arguments)


def expanded(
    call: Call, random: DropoutMask | MaskSum | Uniform
) -> DropoutMask | MaskSum | Uniform:
    """Repeat a mask or uniform noise along axes of 1, to the shape of an activation."""
    match random:
        case MaskSum():
            return _expanded(random, call.shape())
        case DropoutMask():
            return _expanded(random, call.shape())
        case Uniform():
            return _expanded(random, call.shape())


def _expanded(random: Random, shape: Shape) -> Random:
    match random:
        case MaskSum(terms, offset):
            return MaskSum(tuple(_expanded(term, shape) for term in terms), offset, shape)
        case DropoutMask(others=(_, *_) as others):
            own = _expanded(replace(random, others=()), shape)
            return replace(own, others=tuple(_expanded(other, shape) for other in others))
    target = torch.ops.aten.expand.default
    arguments = {"self": random.drawn, "size": list(shape), "implicit": False}
    return random.moved(Moved(target, arguments), shape)


def _blend_moved(call: Call, blend: MaskSum) -> Result:
    """Move each term by itself."""
    parts = [_one_moved(call, blend, _expanded(term, blend.shape)) for term in blend.terms]
    if isinstance(parts[0], DropoutMask):
        return MaskSum(tuple(cast("list[DropoutMask]", parts)), blend.offset, call.shape())
    several = zip(*cast("list[tuple[DropoutMask, ...]]", parts), strict=True)
    return tuple(MaskSum(terms, blend.offset, terms[0].shape) for terms in several)


def _product_moved(call: Call, product: DropoutMask) -> Result:
    """Move each factor by itself."""
    return _one_moved(call, product, _expanded(product, product.shape))


def _one_moved(
    call: Call, whole: DropoutMask | MaskSum, product: DropoutMask
) -> DropoutMask | tuple[DropoutMask, ...]:
    """Move a product whose factors have its shape; it is `whole`, or part of it."""
    factors = (replace(product, others=()), *product.others)
    moved = [_factor_moved(call, whole, factor) for factor in factors]
    if isinstance(moved[0], DropoutMask):
        single = cast("list[DropoutMask]", moved)
        return replace(single[0], others=tuple(single[1:]))
    several = zip(*cast("list[tuple[DropoutMask, ...]]", moved), strict=True)
    return tuple(replace(first, others=tuple(others)) for first, *others in several)


def _factor_moved(
    call: Call, whole: DropoutMask | MaskSum, factor: DropoutMask
) -> DropoutMask | tuple[DropoutMask, ...]:
    def put(value: object) -> object:
        if isinstance(value, list):
            return [put(item) for item in value]
        return factor if value is whole else value

    arguments = {name: _plain(call, put(value)) for name, value in call.arguments.items()}
    return cast("DropoutMask | tuple[DropoutMask, ...]", _results(call, factor, arguments))


def _results(
    call: Call, first: DropoutMask | Uniform, arguments: Mapping[str, object]
) -> DropoutMask | Uniform | tuple[DropoutMask | Uniform, ...]:
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


def _among(arguments: Mapping[str, object]) -> list[DropoutMask | MaskSum | Uniform]:
    values = (v for a in arguments.values() for v in (a if isinstance(a, list) else [a]))
    return [value for value in values if isinstance(value, DropoutMask | MaskSum | Uniform)]


def _is_like(
    first: DropoutMask | MaskSum | Uniform, other: DropoutMask | MaskSum | Uniform
) -> bool:
    """Whether both are the same function of elements of one draw."""
    match first, other:
        case DropoutMask(a, _, p, scale, low, ()), DropoutMask(b, _, q, factor, lower, ()):
            return a.source is b.source and (p, scale, low) == (q, factor, lower)
        case Uniform(a, _, scale, offset), Uniform(b, _, factor, shift):
            return a.source is b.source and (scale, offset) == (factor, shift)
        case _:
            return first is other


def _plain(call: Call, value: object) -> object:
    match value:
        case DropoutMask() | Uniform():
            return value.drawn
        case Constant(tensor):
            return tensor
        case Activation():
            call.fail("moves the elements of a mask to where an activation says")
        case list():
            return [_plain(call, item) for item in value]
        case _:
            return value
