"""Masks written out by hand: comparisons of random numbers, and the choices made by them."""

from __future__ import annotations

from qbnnc.frontend.convert.call import Call, number_of
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.values import (
    Activation,
    Filled,
    Fixed,
    Keep,
    Row,
    Tracked,
    Uniform,
    exact,
)
from qbnnc.ir.ops import Add


def above(call: Call) -> Tracked:
    """u > t: kept with probability 1 - t."""
    return _compared(call, above=True)


def below(call: Call) -> Tracked:
    """u < t: kept with probability t."""
    return _compared(call, above=False)


def _compared(call: Call, *, above: bool) -> Tracked:
    match call.tracked("self"), call.tracked("other"):
        case Uniform() as drawn, _:
            threshold = (call.number("other") - drawn.offset) / drawn.scale
        case Fixed() | Filled(), Uniform() as drawn:
            threshold, above = (call.number("self") - drawn.offset) / drawn.scale, not above
        case _:
            call.fail("comparing activations is not supported; only of random numbers, for a mask")
    high = above == (drawn.scale > 0)
    p = exact(threshold if high else 1.0 - threshold)
    return Keep(drawn.drawn, drawn.shape, p, low=not high)


def floor(call: Call) -> Tracked:
    """floor(u + q) is 1 with probability q."""
    drawn = call.tracked("self")
    if not isinstance(drawn, Uniform):
        call.fail("rounding activations is not supported")
    return floored(call, drawn)


def floored(call: Call, drawn: Uniform) -> Keep:
    if drawn.scale != 1 or not 0 <= drawn.offset <= 1:
        call.fail("rounds random numbers to several integers; only 0 and 1 are a mask")
    return Keep(drawn.drawn, drawn.shape, exact(1.0 - drawn.offset))


def invert(call: Call) -> Tracked:
    return _mask(call, "self").inverted()


def where(call: Call) -> Tracked:
    """mask ? a : b is a * mask + b * (1 - mask), of which one may be 0."""
    mask, (a, b) = _mask(call, "condition"), (call.tracked("self"), call.tracked("other"))
    if _is(a, 0.0):
        return _applied(call, b, mask.inverted())
    if _is(b, 0.0):
        return _applied(call, a, mask)
    if not (isinstance(a, Activation) and isinstance(b, Activation)):
        call.fail(
            "a mask chooses between an activation and a number; only 0 is supported, as dropout "
            "does, or a choice between two activations"
        )
    parts = (_applied(call, a, mask), _applied(call, b, mask.inverted()))
    left, right = (call.scope.value(part, call) for part in parts)
    return Row(call.emit(Add(), left, right))


def masked_fill(call: Call) -> Tracked:
    if call.number("value") != 0:
        call.fail(f"fills with {call.number('value'):g}; only 0 is supported, as dropout does")
    return _applied(call, call.tracked("self"), _mask(call, "mask").inverted())


def both(call: Call) -> Tracked:
    """mask & mask."""
    return _mask(call, "self", several=True).times(_mask(call, "other", several=True), call.shape())


def _applied(call: Call, x: Tracked, mask: Keep) -> Tracked:
    if _is(x, 1.0):
        return mask
    return call.scope.masked(call.scope.value(x, call), mask, call)


def _mask(call: Call, name: str, *, several: bool = False) -> Keep:
    """An argument that is 0 or 1; `several`: it may be a product of masks."""
    mask = call.tracked(name)
    if isinstance(mask, Keep) and mask.others and not several:
        call.fail("inverts a product of masks; choose by one mask at a time")
    if not isinstance(mask, Keep) or mask.scale != 1:
        call.fail("chooses by something other than a random mask; that is not supported")
    return mask


def _is(x: Tracked, number: float) -> bool:
    match x:
        case Filled(_, value):
            return value == number
        case Fixed(tensor):
            return number_of(tensor) == number
        case _:
            return False


def sign_of_mask(call: Call) -> Tracked:
    """mask != 0 and mask == 1 are the mask; mask == 0 is its inverse."""
    mask, number = call.tracked("self"), call.number("other")
    # the rule is registered for ops alone, whose targets have names; fx types them as any callable
    is_equal = str(getattr(call.node.target, "__name__", "")).startswith("eq")
    if not isinstance(mask, Keep) or mask.scale != 1 or number not in (0, 1):
        call.fail("comparing activations is not supported")
    return mask if is_equal == bool(number) else _mask(call, "self").inverted()


RULES: Rules = {
    "__and__": both,
    "bitwise_and": both,
    "bitwise_not": invert,
    "eq": sign_of_mask,
    "floor": floor,
    "ge": above,
    "gt": above,
    "le": below,
    "logical_and": both,
    "logical_not": invert,
    "lt": below,
    "masked_fill": masked_fill,
    "ne": sign_of_mask,
    "where": where,
}
