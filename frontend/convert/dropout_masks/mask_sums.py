"""Sums of masks and a number: 1 - m * n, m | n, m ^ n, 0.5 + 0.5 * m; see tracked.MaskSum."""

from __future__ import annotations

from dataclasses import replace

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape
from qbnnc.frontend.convert.ops.affine import affine_value
from qbnnc.frontend.convert.tracked import Activation, DropoutMask, MaskSum, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Add

_MOST_TERMS = 16


def blend_of(x: DropoutMask | MaskSum) -> MaskSum:
    return x if isinstance(x, MaskSum) else MaskSum((x,), 0.0, x.shape)


def plus(a: DropoutMask | MaskSum, b: DropoutMask | MaskSum, shape: Shape) -> MaskSum:
    """a + b."""
    left, right = blend_of(a), blend_of(b)
    return MaskSum((*left.terms, *right.terms), left.offset + right.offset, shape)


def shifted(x: DropoutMask | MaskSum, number: float) -> DropoutMask | MaskSum:
    """x + number, as a single mask if it is one: 1 - m is the inverted mask."""
    whole = blend_of(x)
    offset = whole.offset + number
    match whole.terms:
        case (DropoutMask(others=()) as mask,) if offset and abs(offset + mask.scale) <= 1e-6 * abs(
            offset
        ):
            return replace(mask.inverted(), scale=offset)
        case (mask,) if offset == 0:
            return mask
        case _:
            return replace(whole, offset=offset)


def times(call: Call, a: DropoutMask | MaskSum, b: DropoutMask | MaskSum) -> DropoutMask | MaskSum:
    """a * b: each term of a times each term of b."""
    if isinstance(a, DropoutMask) and isinstance(b, DropoutMask):
        return a.times(b, call.shape())
    left, right, shape = blend_of(a), blend_of(b), call.shape()
    terms = [x.times(y, shape) for x in left.terms for y in right.terms]
    terms += [x.scaled(right.offset) for x in left.terms if right.offset]
    terms += [y.scaled(left.offset) for y in right.terms if left.offset]
    if len(terms) > _MOST_TERMS:
        call.fail(
            f"a product of sums of masks has more than {_MOST_TERMS} terms", "draw fewer masks"
        )
    return MaskSum(tuple(terms), left.offset * right.offset, shape)


def inverse(x: DropoutMask | MaskSum) -> DropoutMask | MaskSum:
    """1 - x, the complement of a mask that is 0 or 1."""
    return shifted(x.scaled(-1.0), 1.0)


def either(call: Call, a: DropoutMask | MaskSum, b: DropoutMask | MaskSum) -> DropoutMask | MaskSum:
    """a | b of masks of 0 and 1: 1 - (1 - a)(1 - b)."""
    return inverse(times(call, inverse(a), inverse(b)))


def exclusive(
    call: Call, a: DropoutMask | MaskSum, b: DropoutMask | MaskSum
) -> DropoutMask | MaskSum:
    """a ^ b of masks of 0 and 1: a (1 - b) + (1 - a) b."""
    parts = times(call, a, inverse(b)), times(call, inverse(a), b)
    return plus(*parts, call.shape())


def blended(call: Call, x: Value, blend: DropoutMask | MaskSum) -> Tracked:
    """x * blend: the sum of x under each mask, and of x times the offset."""
    if isinstance(blend, DropoutMask):
        return call.context.masked(x, blend, call)
    name, total = call.place("dropout").name, list[Value]()
    if blend.offset:
        total.append(affine_value(call, x, scale=blend.offset, suffix="unmasked"))
    for term in blend.terms:
        total.append(call.context.value(call.context.masked(x, term, call), call))
    if not total:
        return Activation(affine_value(call, x, scale=0.0, suffix="none"))
    whole = total[0]
    for part in total[1:]:
        whole = call.context.build.emit(Add(), whole, part, loc=call.place().loc, name=name)
    return Activation(whole)


def filled(call: Call, x: Value, mask: DropoutMask | MaskSum, number: float) -> Tracked:
    """mask ? x : number, as (x - number) * mask + number."""
    if number == 0:
        return blended(call, x, mask)
    moved = affine_value(call, x, shift=-number, suffix="moved")
    kept = call.context.value(blended(call, moved, mask), call)
    return Activation(affine_value(call, kept, shift=number, suffix="filled"))


def added(call: Call, x: Value, blend: DropoutMask | MaskSum) -> Activation:
    """x + blend: each mask selects between x and x + its scale."""
    whole = blend_of(blend)
    for term in whole.terms:
        unit = replace(term, scale=1.0)
        other = call.context.value(blended(call, x, inverse(unit)), call)
        more = affine_value(call, x, shift=term.scale, suffix="raised")
        raised = call.context.value(blended(call, more, unit), call)
        x = call.emit(Add(), other, raised)
    return Activation(
        affine_value(call, x, shift=whole.offset, suffix="shifted") if whole.offset else x
    )


def truth(call: Call, name: str) -> DropoutMask | MaskSum:
    """An argument that is a mask of 0 and 1, to choose by."""
    match call.tracked(name):
        case DropoutMask(scale=scale) as mask if abs(scale - 1) <= 1e-6:
            return replace(mask, scale=1.0)
        case MaskSum() as blend if call.is_bool(name):
            return blend
        case _:
            call.fail(
                "chooses by something other than a random mask of 0 and 1",
                "that is not supported, so draw one: torch.rand(...) < q, or torch.bernoulli(...)",
            )
