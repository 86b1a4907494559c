"""Comparisons of activations, as values 0 and 1, and choices made by them.

Comparisons of random numbers are masks; see `dropout_masks.handwritten_masks`.
"""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert import unsupported_ops
from qbnnc.frontend.convert.call import Call, Rule, Rules, number_of
from qbnnc.frontend.convert.constant_folding import is_known
from qbnnc.frontend.convert.dropout_masks import handwritten_masks
from qbnnc.frontend.convert.ids import is_ids
from qbnnc.frontend.convert.ops import attention_masks, shapes
from qbnnc.frontend.convert.ops.affine import affine, finite_below
from qbnnc.frontend.convert.ops.arithmetic import operand, product, summed
from qbnnc.frontend.convert.ops.elementwise_formulas import Term, computed, emitted
from qbnnc.frontend.convert.ops.elementwise_functions import single
from qbnnc.frontend.convert.ops.graph_analysis import common_source, steps_of
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Constant,
    DropoutMask,
    Filled,
    Result,
    Tracked,
    Uniform,
    tracked_among,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Function, Unary

_IDS = (torch.int32, torch.int64)
_ONE = torch.tensor(1.0, dtype=torch.float64)
_MIRRORED = {"gt": "lt", "ge": "le", "lt": "gt", "le": "ge", "eq": "eq", "ne": "ne"}


def compared(name: str) -> Rule:
    """The rule of a comparison of an activation with a number, a constant, or an activation."""

    def rule(call: Call) -> Activation:
        a, b, how = call.tracked("self"), call.tracked("other"), name
        if not isinstance(a, AnyActivation):
            a, b, how = b, a, _MIRRORED[name]
        if isinstance(a, Uniform) or isinstance(b, Uniform):
            handwritten_masks.refuse_probabilities(call)
        if (number := _number(b)) is not None:
            return _against(call, call.context.value(a, call), how, single(number))
        difference = summed(call, a, b, -1.0)  # its sign is exact in floating point
        return _against(call, call.context.value(difference, call), how, 0.0)

    return rule


def _against(call: Call, x: Value, how: str, number: float) -> Activation:
    if not isfinite(number):
        call.fail(f"compares with {number:g}, and activations are finite", "leave it out")
    above, at_least = (Function.ABOVE, Function.AT_LEAST)
    match how:
        case "gt" | "ge":
            function = above if how == "gt" else at_least
            return Activation(call.emit(Unary(function, number), x))
        case "lt" | "le":
            function = at_least if how == "lt" else above
            return computed(call, x, lambda x: x.of(function, number).affine(-1.0, 1.0))
        case "eq":
            return computed(call, x, lambda x: _equal(x, number))
        case _:
            return computed(call, x, lambda x: _equal(x, number).affine(-1.0, 1.0))


def _equal(x: Term, number: float) -> Term:
    return x.of(Function.AT_LEAST, number) - x.of(Function.ABOVE, number)


def invert(call: Call) -> Tracked:
    return _not(call, _truth(call, "self"))


def both(call: Call) -> Tracked:
    return product(call, _truth(call, "self"), _truth(call, "other"))


def either(call: Call) -> Tracked:
    """a or b, as a + b - ab."""
    a, b = _truth(call, "self"), _truth(call, "other")
    return summed(call, summed(call, a, b, 1.0), product(call, a, b), -1.0)


def one_of_two(call: Call) -> Tracked:
    """Exclusive or, as a + b - 2ab."""
    a, b = _truth(call, "self"), _truth(call, "other")
    return summed(call, summed(call, a, b, 1.0), product(call, a, b), -2.0)


def cast(call: Call) -> Tracked:
    """Drop a cast that rounds nothing, as ids are whole; a cast to bool is x != 0."""
    x, want = call.tracked("self"), call.node.meta["val"].dtype
    if not isinstance(x, AnyActivation):
        return shapes.cast_to(call)
    have = _dtype_of(call, "self")
    if want is torch.bool:
        return _truth(call, "self")
    wider = not have.is_floating_point and have.itemsize <= want.itemsize
    if want.is_floating_point or have == want or (wider and not want.is_complex):
        return x
    if want in _IDS and is_ids(call, x):
        return x
    return call.fail(f"casts activations to {want}, which rounds them", "only floats are supported")


def rounded(call: Call) -> Tracked:
    return call.fail(*unsupported_ops.ROUNDING)


def heaviside(call: Call) -> Activation:
    """Step function: 0 below 0, 1 above, and `values` at 0."""
    value = call.number("values")
    return computed(
        call,
        call.row("self"),
        lambda x: x.of(Function.AT_LEAST) * value + x.of(Function.ABOVE) * (1 - value),
    )


def where(call: Call) -> Tracked:
    return chosen(
        call, _condition(call, "condition"), operand(call, "self"), operand(call, "other")
    )


def masked_fill(call: Call) -> Tracked:
    value = Constant(torch.tensor(call.number("value"), dtype=torch.float64))
    return chosen(call, _condition(call, "mask"), value, operand(call, "self"))


def chosen(call: Call, condition: Tracked, a: Tracked, b: Tracked) -> Tracked:
    """a if the condition is 1, else b.

    Functions of one value become one function of it. Otherwise the choice is
    condition * a + (1 - condition) * b, which needs finite a and b. Where the condition is
    constant, minus infinity is the least float32: a softmax may read it. Where it is computed,
    minus infinity is added to what softmaxes alone read (`attention_masks`).
    """
    if isinstance(condition, Constant):
        a, b = (_finite_below(each) for each in (a, b))
    elif (scores := _masked_scores(call, condition, a, b)) is not None:
        return scores
    for each in (a, b):
        if isinstance(each, Constant) and not bool(each.tensor.isfinite().all()):
            call.fail(
                "chooses a number that is not finite, as masked attention does",
                "choose minus infinity before a softmax, which alone reads it, or a finite number",
            )
    if (one := _as_one_function(call, condition, a, b)) is not None:
        return one
    return summed(call, _times(call, a, condition), _times(call, b, _not(call, condition)), 1.0)


def _masked_scores(call: Call, condition: Tracked, a: Tracked, b: Tracked) -> Tracked | None:
    """Scores plus -1e9 where a computed mask drops them; None for any other choice."""
    dropped, scores, where = (a, b, condition)
    if not _is_minus_infinity(dropped):
        dropped, scores, where = b, a, _not(call, condition)
    if not _is_minus_infinity(dropped) or not attention_masks.only_softmaxes_read(call.node):
        return None
    far = Constant(torch.tensor(attention_masks.MASKED, dtype=torch.float64))
    return summed(call, _times(call, far, where), scores, 1.0)


def _is_minus_infinity(x: Tracked) -> bool:
    return isinstance(x, Constant) and bool(torch.isneginf(x.tensor).all())


def _finite_below(x: Tracked) -> Tracked:
    return Constant(finite_below(x.tensor)) if isinstance(x, Constant) else x


def _times(call: Call, x: Tracked, factor: Tracked) -> Tracked:
    if isinstance(x, Constant) and isinstance(factor, Constant):
        return Constant(x.tensor * factor.tensor)
    return product(call, x, factor)


def _as_one_function(call: Call, condition: Tracked, a: Tracked, b: Tracked) -> Activation | None:
    build, parts = call.context.build, (condition, a, b)
    numbers = [_number(part) for part in parts]
    rows = [
        call.context.value(part, call)
        for part, number in zip(parts, numbers, strict=True)
        if number is None and isinstance(part, AnyActivation)
    ]
    shapes = {value.type.shape for value in rows}
    known = len(rows) + sum(number is not None for number in numbers) == len(parts)
    if not known or shapes != {call.row_shape()}:
        return None
    found = common_source(build, rows)
    if found is None or numbers[0] is not None:
        return None
    source, nodes = found
    steps, places = steps_of(build, source, nodes)
    remaining = iter(rows)
    terms = [Term(steps, places[next(remaining)]) if n is None else n for n in numbers]
    choice, left, right = terms
    if not isinstance(choice, Term):
        return None
    choice.chosen(left, right)
    return Activation(emitted(call, source, steps))


def _condition(call: Call, name: str) -> Tracked:
    condition = operand(call, name)
    if isinstance(condition, AnyActivation | Constant):
        return condition
    return call.fail("chooses by random numbers that are no mask", "choose by a mask")


def _truth(call: Call, name: str) -> Tracked:
    """An argument as 0 or 1: whether it is not 0."""
    x = operand(call, name)
    match x:
        case Constant(tensor):
            return Constant((tensor != 0).to(torch.float64))
        case DropoutMask():
            return x
        case _ if _is_bool(call, name):
            return x
        case _:
            return computed(
                call, call.context.value(x, call), lambda x: _equal(x, 0.0).affine(-1.0, 1.0)
            )


def _is_bool(call: Call, name: str) -> bool:
    return _dtype_of(call, name) is torch.bool


def _dtype_of(call: Call, name: str) -> torch.dtype:
    """The dtype of the first or second tensor argument."""
    node = call.node.args[0 if name == "self" else 1]
    value = node.meta["val"] if isinstance(node, fx.Node) else node
    return value.dtype if isinstance(value, Tensor) else torch.float32


def _not(call: Call, truth: Tracked) -> Tracked:
    match truth:
        case Constant(tensor):
            return Constant(1 - tensor)
        case _:
            return affine(call, truth, scale=-_ONE, shift=_ONE)


def _number(x: Tracked) -> float | None:
    match x:
        case Constant(tensor):
            return number_of(tensor)
        case Filled(_, number):
            return number
        case _:
            return None


def _of_activations(name: str, ours: Rule) -> Rule:
    """A rule that is `ours` if activations are compared or choose, and that of masks otherwise."""
    of_masks = handwritten_masks.RULES.get(name, ours)

    def rule(call: Call) -> Result:
        by = [call.arguments[key] for key in ("condition", "mask") if key in call.arguments]
        mine = by or list(tracked_among(call.arguments))
        readable = AnyActivation | Constant if by else AnyActivation
        found = any(isinstance(x, readable) for x in mine) or (by and is_known(call))
        return (ours if found else of_masks)(call)

    return rule


_OURS: Rules = {
    **{name: compared(name) for name in _MIRRORED},
    "greater": compared("gt"),
    "greater_equal": compared("ge"),
    "less": compared("lt"),
    "less_equal": compared("le"),
    "not_equal": compared("ne"),
    **dict.fromkeys("__and__ bitwise_and logical_and".split(), both),
    **dict.fromkeys("__or__ bitwise_or logical_or".split(), either),
    **dict.fromkeys("__xor__ bitwise_xor logical_xor".split(), one_of_two),
    **dict.fromkeys("bitwise_not logical_not".split(), invert),
    **dict.fromkeys("_to_copy to type_as".split(), cast),
    "floor": rounded,
    "heaviside": heaviside,
    "masked_fill": masked_fill,
    "where": where,
}
RULES: Rules = {name: _of_activations(name, rule) for name, rule in _OURS.items()}
