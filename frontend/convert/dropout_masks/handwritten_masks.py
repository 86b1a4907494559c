"""Masks written out by hand: comparisons of random numbers, and choices made by them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import NoReturn

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.dropout_masks.mask_sums import (
    either,
    exclusive,
    filled,
    inverse,
    shifted,
    times,
    truth,
)
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Constant,
    DropoutMask,
    Filled,
    MaskSum,
    Tracked,
    Uniform,
    exact,
)
from qbnnc.ir.ops import Add


def compared(call: Call) -> Tracked:
    """A comparison of uniform noise with a number, or of a mask's two values."""
    name = str(getattr(call.node.target, "__name__", "")).split(".")[0]
    random = call.tracked("self")
    if isinstance(random, DropoutMask | MaskSum):
        return _by_values(call, random, _COMPARISONS[name])
    if name in ("eq", "ne"):
        call.fail("comparing activations is not supported")
    return _compared(call, above=name in ("ge", "gt"))


def _by_values(
    call: Call, mask: DropoutMask | MaskSum, holds: Callable[[float, float], bool]
) -> DropoutMask | MaskSum:
    """The mask, for mask > 0.5, mask == 1 and the like; its inverse, for mask == 0."""
    if isinstance(mask, MaskSum):
        if not call.is_bool("self"):
            call.fail("compares a sum of masks", "compare one mask, or combine masks with & and |")
        unit: DropoutMask | MaskSum = mask
        dropped, kept = (holds(value, call.number("other")) for value in (0.0, 1.0))
    else:
        unit = replace(mask, scale=1.0)
        dropped, kept = (holds(value, call.number("other")) for value in (0.0, mask.scale))
    if dropped == kept:
        call.fail("compares a mask with a number so that the result is always the same")
    return unit if kept else inverse(unit)


def _compared(call: Call, *, above: bool) -> Tracked:
    match call.tracked("self"), call.tracked("other"):
        case Uniform() as drawn, _:
            threshold = (_threshold(call, "other") - drawn.offset) / drawn.scale
        case Constant() | Filled(), Uniform() as drawn:
            threshold, above = (_threshold(call, "self") - drawn.offset) / drawn.scale, not above
        case _:
            call.fail(
                "comparing activations is not supported", "only of random numbers, for a mask"
            )
    high = above == (drawn.scale > 0)
    p = exact(threshold if high else 1.0 - threshold)
    return DropoutMask(drawn.drawn, drawn.shape, p, low=not high)


def _threshold(call: Call, name: str) -> float:
    """The number that uniform noise is compared with."""
    match call.tracked(name):
        case (Constant() | Filled()) as known if isinstance(number := _plain(known), float):
            return number
        case _:
            refuse_probabilities(call)


def refuse_probabilities(call: Call) -> NoReturn:
    """CompileError for a mask whose probability is not the same for all elements."""
    call.fail(
        "compares uniform noise with more than one number, for a mask whose probability differs "
        "between elements or depends on the input, which is not supported",
        "use one probability for all elements, or a relaxed mask: a sigmoid of noise",
    )


def floor(call: Call) -> Tracked:
    """floor(u + q), which is 1 with probability q."""
    drawn = call.tracked("self")
    if not isinstance(drawn, Uniform):
        call.fail("rounding activations is not supported")
    return floored(call, drawn)


def floored(call: Call, drawn: Uniform) -> DropoutMask:
    if drawn.scale != 1 or not 0 <= drawn.offset <= 1:
        call.fail("rounds random numbers to several integers", "only 0 and 1 are a mask")
    return DropoutMask(drawn.drawn, drawn.shape, exact(1.0 - drawn.offset))


def invert(call: Call) -> Tracked:
    return inverse(_mask(call, "self"))


def where(call: Call) -> Tracked:
    """mask ? a : b, as a * mask + b * (1 - mask); one of a and b may be a number."""
    mask, (a, b) = _mask(call, "condition"), (_plain(call.tracked(n)) for n in ("self", "other"))
    match a, b:
        case float(), float():
            return shifted(mask.scaled(a - b), b)
        case float(), _:
            return _filled(call, b, inverse(mask), a)
        case _, float():
            return _filled(call, a, mask, b)
        case _ if not (isinstance(a, AnyActivation) and isinstance(b, AnyActivation)):
            call.fail(
                "a mask chooses between an activation and an uneven constant",
                "only one number is supported, or a choice between two activations",
            )
    parts = (_filled(call, a, mask, 0.0), _filled(call, b, inverse(mask), 0.0))
    left, right = (call.context.value(part, call) for part in parts)
    return Activation(call.emit(Add(), left, right))


def masked_fill(call: Call) -> Tracked:
    x, kept = _plain(call.tracked("self")), inverse(_mask(call, "mask"))
    value = call.number("value")
    if isinstance(x, float):
        return shifted(kept.scaled(x - value), value)
    return _filled(call, x, kept, value)


def _filled(call: Call, x: Tracked | float, mask: DropoutMask | MaskSum, number: float) -> Tracked:
    assert not isinstance(x, float)
    return filled(call, call.context.value(x, call), mask, number)


def both(call: Call) -> Tracked:
    """mask & mask."""
    return times(call, _mask(call, "self"), _mask(call, "other"))


def one_or_both(call: Call) -> Tracked:
    """mask | mask."""
    return either(call, _mask(call, "self"), _mask(call, "other"))


def one_of_both(call: Call) -> Tracked:
    """mask ^ mask."""
    return exclusive(call, _mask(call, "self"), _mask(call, "other"))


def _mask(call: Call, name: str) -> DropoutMask | MaskSum:
    """An argument that is a mask of 0 and 1."""
    return truth(call, name)


def _plain(x: Tracked) -> Tracked | float:
    """The number that a constant holds everywhere; any other value as it is."""
    match x:
        case Filled(_, number) if number is not None:
            return number
        case Constant(tensor) if (value := number_of(tensor)) is not None:
            return value
        case _:
            return x


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
    "ne": operator.ne,
}
RULES: Rules = {
    **dict.fromkeys(_COMPARISONS, compared),
    **dict.fromkeys(("__and__", "bitwise_and", "logical_and"), both),
    **dict.fromkeys(("__or__", "bitwise_or", "logical_or"), one_or_both),
    **dict.fromkeys(("__xor__", "bitwise_xor", "logical_xor"), one_of_both),
    **dict.fromkeys(("bitwise_not", "logical_not"), invert),
    "floor": floor,
    "masked_fill": masked_fill,
    "where": where,
}
