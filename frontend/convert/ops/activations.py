"""Activations: clamps of every spelling, maximum and minimum, and softmax."""

from __future__ import annotations

from math import inf, isfinite

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.ops import reductions
from qbnnc.frontend.convert.ops.affine import ONE, affine, negated
from qbnnc.frontend.convert.ops.shapes import broadcast, reshaped, step, together
from qbnnc.frontend.convert.tracked import Activation, Constant, Filled, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Clamp, Concat, MaxPool2d, Softmax


def relu(call: Call) -> Activation:
    return _clamp(call, call.row("self"), 0.0, None)


def relu6(call: Call) -> Activation:
    return _clamp(call, call.row("self"), 0.0, 6.0)


def hardtanh(call: Call) -> Activation:
    return _clamp(call, call.row("self"), call.number("min_val"), call.number("max_val"))


def clamp(call: Call) -> Activation:
    """Clamp between numbers, or between constants for each channel or element."""
    given = [_bound(call, name) for name in ("min", "max")]
    numbers = [None if bound is None else number_of(bound) for bound in given]
    if [n is None for n in numbers] == [bound is None for bound in given]:
        return _clamp(call, call.row("self"), *numbers)
    x = call.tracked("self")
    for bound, at_least in zip(given, (True, False), strict=True):
        x = x if bound is None else _bounded(call, x, bound, at_least=at_least)
    return Activation(call.context.value(x, call))


def maximum(call: Call) -> Activation:
    if (known := _with_constant(call)) is not None:
        return _bounded(call, *known, at_least=True)
    return Activation(_greater(call, *_both(call)))


def minimum(call: Call) -> Activation:
    """Minimum of two tensors: -max(-a, -b)."""
    if (known := _with_constant(call)) is not None:
        return _bounded(call, *known, at_least=False)
    mirrored = (negated(call, value, "mirrored") for value in _both(call))
    return Activation(negated(call, _greater(call, *mirrored)))


def largest(call: Call) -> Tracked | tuple[Tracked, ...]:
    """Maximum of two tensors, or over axes."""
    if "other" in call.arguments:
        return maximum(call)
    return reductions.largest_of(call) if "dim" in call.arguments else reductions.largest(call)


def least(call: Call) -> Tracked | tuple[Tracked, ...]:
    if "other" in call.arguments:
        return minimum(call)
    return reductions.least_of(call) if "dim" in call.arguments else reductions.least(call)


def softmax(call: Call) -> Activation:
    return _softmax(call, log=False)


def log_softmax(call: Call) -> Activation:
    return _softmax(call, log=True)


def _clamp(call: Call, x: Value, low: float | None, high: float | None) -> Activation:
    """Clamp x; an infinite bound is none. torch gives the upper bound if the two are crossed."""
    low, high = (_finite(call, bound, end) for bound, end in ((low, -inf), (high, inf)))
    if low is not None and high is not None and low > high:
        return Activation(call.emit(Clamp(None, high), step(call, "low", Clamp(low, None), x)))
    return Activation(call.emit(Clamp(low, high), x))


def _finite(call: Call, bound: float | None, none: float) -> float | None:
    if bound is None or bound == none:
        return None
    return bound if isfinite(bound) else call.fail(f"has the bound {bound:g}, which leaves nothing")


def _bounded(call: Call, x: Tracked, bound: Tensor, *, at_least: bool) -> Activation:
    """max(x, c) = c + relu(x - c), and min(x, c) = c - relu(c - x), for a constant c."""
    if (number := number_of(bound)) is not None:
        value = call.context.value(x, call)
        return _clamp(call, value, *((number, None) if at_least else (None, number)))
    if not bool(bound.isfinite().all()):
        call.fail("has bounds of which some are infinite", "give all channels finite ones")
    sign, c = (ONE if at_least else -ONE), bound.to(torch.float64)
    over = affine(call, x, scale=sign, shift=-sign * c)
    excess = step(call, "excess", Clamp(0.0, None), over.value)
    return affine(call, Activation(excess), scale=sign, shift=c)


def _bound(call: Call, name: str) -> Tensor | None:
    return None if call.arguments.get(name) is None else call.fixed(name)


def _with_constant(call: Call) -> tuple[Tracked, Tensor] | None:
    """The activation and the constant of max(x, constant), in either order; None if not such."""
    for x, name in (("self", "other"), ("other", "self")):
        if isinstance(call.tracked(name), Constant | Filled):
            return call.tracked(x), call.fixed(name)
    return None


def _both(call: Call) -> tuple[Value, Value]:
    a, b = call.row("self"), call.row("other")
    shape = together(call, "compares", a, b)
    return broadcast(call, a, shape), broadcast(call, b, shape)


def _greater(call: Call, a: Value, b: Value) -> Value:
    """max(a, b) as a window over both, one below the other in an image: they share one scale."""
    shape = a.type.shape
    rows = shape[1] if len(shape) == 3 else 1
    image = shape if len(shape) == 3 else (a.type.size, 1, 1)
    pair = step(call, "pair", Concat(1), *(reshaped(call, v, image, "image") for v in (a, b)))
    window = MaxPool2d((2, 1), (1, 1), dilation=(rows, 1))
    return reshaped(call, step(call, "greater", window, pair), shape)


def _softmax(call: Call, *, log: bool) -> Activation:
    x = call.row("self")
    axis = call.integer("dim") % (len(x.type.shape) + 1)
    if axis == 0:
        call.fail("normalises over the rows of the batch", "give it the axis of the classes")
    return Activation(call.emit(Softmax(axis - 1, log), x))


RULES: Rules = {
    "_log_softmax": log_softmax,
    "_safe_softmax": softmax,
    "_softmax": softmax,
    "clamp": clamp,
    "clamp_max": clamp,
    "clamp_min": clamp,
    "clip": clamp,
    "hardtanh": hardtanh,
    "fmax": maximum,
    "fmin": minimum,
    "log_softmax": log_softmax,
    "max": largest,
    "maximum": maximum,
    "min": least,
    "minimum": minimum,
    "relu": relu,
    "relu6": relu6,
    "softmax": softmax,
    "special_log_softmax": log_softmax,
    "special_softmax": softmax,
}
