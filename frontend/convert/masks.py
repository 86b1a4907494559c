"""Masks written out by hand: comparisons of random numbers, and the choices made by them."""

from __future__ import annotations

from qbnnc.frontend.convert.call import Call, number_of
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.values import Filled, Fixed, Keep, Tracked, Uniform, exact


def above(call: Call) -> Tracked:
    """u > t: kept with probability 1 - t."""
    return _compared(call, above=True)


def below(call: Call) -> Tracked:
    """u < t: kept with probability t."""
    return _compared(call, above=False)


def _compared(call: Call, *, above: bool) -> Tracked:
    match call.tracked("self"), call.tracked("other"):
        case Uniform() as drawn, _:
            threshold = call.number("other") - drawn.offset
        case Fixed() | Filled(), Uniform() as drawn:
            threshold, above = call.number("self") - drawn.offset, not above
        case _:
            call.fail("comparing activations is not supported; only of random numbers, for a mask")
    p = exact(threshold if above else 1.0 - threshold)
    return Keep(drawn.source, drawn.shape, p, low=not above)


def floor(call: Call) -> Tracked:
    """floor(u + q) is 1 with probability q."""
    drawn = call.tracked("self")
    if not isinstance(drawn, Uniform) or not 0 <= drawn.offset <= 1:
        call.fail("rounding activations is not supported")
    return Keep(drawn.source, drawn.shape, exact(1.0 - drawn.offset))


def invert(call: Call) -> Tracked:
    return _mask(call, "self").inverted()


def where(call: Call) -> Tracked:
    """mask ? x : 0, or mask ? 0 : x."""
    mask, (a, b) = _mask(call, "condition"), (call.tracked("self"), call.tracked("other"))
    if _is(a, 0.0):
        a, b, mask = b, a, mask.inverted()
    if not _is(b, 0.0):
        call.fail("chooses between two tensors; only a mask that chooses between x and 0 is read")
    return _applied(call, a, mask)


def masked_fill(call: Call) -> Tracked:
    if call.number("value") != 0:
        call.fail(f"fills with {call.number('value'):g}; only 0 is supported, as dropout does")
    return _applied(call, call.tracked("self"), _mask(call, "mask").inverted())


def _applied(call: Call, x: Tracked, mask: Keep) -> Tracked:
    if _is(x, 1.0):
        return mask
    return call.scope.masked(call.scope.value(x, call), mask, call)


def _mask(call: Call, name: str) -> Keep:
    mask = call.tracked(name)
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
    return mask if is_equal == bool(number) else mask.inverted()


RULES: Rules = {
    "bitwise_not": invert,
    "eq": sign_of_mask,
    "floor": floor,
    "ge": above,
    "gt": above,
    "le": below,
    "logical_not": invert,
    "lt": below,
    "masked_fill": masked_fill,
    "ne": sign_of_mask,
    "where": where,
}
