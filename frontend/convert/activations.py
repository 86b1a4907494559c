"""Clamps of every spelling, and the softmax that ends a classifier."""

from __future__ import annotations

from qbnnc.frontend.convert import reductions
from qbnnc.frontend.convert.arithmetic import negated
from qbnnc.frontend.convert.call import Call, number_of
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.shapes import broadcast, reshaped, step, together
from qbnnc.frontend.convert.values import Filled, Fixed, Row, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Clamp, Concat, MaxPool2d, Softmax


def relu(call: Call) -> Row:
    return _clamp(call, call.row("self"), 0.0, None)


def relu6(call: Call) -> Row:
    return _clamp(call, call.row("self"), 0.0, 6.0)


def hardtanh(call: Call) -> Row:
    return _clamp(call, call.row("self"), call.number("min_val"), call.number("max_val"))


def clamp(call: Call) -> Row:
    bounds = (_bound(call, "min"), _bound(call, "max"))
    return _clamp(call, call.row("self"), *bounds)


def threshold(call: Call) -> Row:
    """x > threshold ? x : value is a ReLU if both numbers are 0."""
    if call.number("threshold") != 0 or call.number("value") != 0:
        call.fail("is supported only with threshold 0 and value 0, as a ReLU; use clamp")
    return _clamp(call, call.row("self"), 0.0, None)


def maximum(call: Call) -> Row:
    if (known := _with_number(call)) is not None:
        return _clamp(call, known[0], known[1], None)
    return Row(_greater(call, *_both(call)))


def minimum(call: Call) -> Row:
    """Of two tensors the mirror of the greater: -max(-a, -b)."""
    if (known := _with_number(call)) is not None:
        return _clamp(call, known[0], None, known[1])
    mirrored = (negated(call, value, "mirrored") for value in _both(call))
    return Row(negated(call, _greater(call, *mirrored)))


def largest(call: Call) -> Tracked | tuple[Tracked, ...]:
    """max of two tensors, or over axes."""
    if "other" in call.arguments:
        return maximum(call)
    return reductions.largest_of(call) if "dim" in call.arguments else reductions.largest(call)


def least(call: Call) -> Tracked | tuple[Tracked, ...]:
    if "other" in call.arguments:
        return minimum(call)
    return reductions.least_of(call) if "dim" in call.arguments else reductions.least(call)


def softmax(call: Call) -> Row:
    return _softmax(call, log=False)


def log_softmax(call: Call) -> Row:
    return _softmax(call, log=True)


def _clamp(call: Call, x: Value, low: float | None, high: float | None) -> Row:
    return Row(call.emit(Clamp(low, high), x))


def _bound(call: Call, name: str) -> float | None:
    return None if call.arguments.get(name) is None else call.number(name)


def _with_number(call: Call) -> tuple[Value, float] | None:
    """The activation and the number of max(x, number), whichever comes first."""
    for x, name in (("self", "other"), ("other", "self")):
        bound = call.tracked(name)
        if isinstance(bound, Fixed | Filled):
            if isinstance(bound, Fixed) and number_of(bound.tensor) is None:
                call.fail("bounds a tensor by another number for each element; use one number")
            return call.row(x), call.number(name)
    return None


def _both(call: Call) -> tuple[Value, Value]:
    a, b = call.row("self"), call.row("other")
    shape = together(call, "compares", a, b)
    return broadcast(call, a, shape), broadcast(call, b, shape)


def _greater(call: Call, a: Value, b: Value) -> Value:
    """One below the other in an image, and a window over both; they share one scale so."""
    shape = a.type.shape
    rows = shape[1] if len(shape) == 3 else 1
    image = shape if len(shape) == 3 else (a.type.size, 1, 1)
    pair = step(call, "pair", Concat(1), *(reshaped(call, v, image, "image") for v in (a, b)))
    window = MaxPool2d((2, 1), (1, 1), dilation=(rows, 1))
    return reshaped(call, step(call, "greater", window, pair), shape)


def _softmax(call: Call, *, log: bool) -> Row:
    x = call.row("self")
    axis = call.integer("dim") % (len(x.type.shape) + 1)
    if axis == 0:
        call.fail("normalises over the rows of the batch; give it the axis of the classes")
    return Row(call.emit(Softmax(axis - 1, log), x))


RULES: Rules = {
    "_log_softmax": log_softmax,
    "_softmax": softmax,
    "clamp": clamp,
    "clamp_max": clamp,
    "clamp_min": clamp,
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
    "threshold": threshold,
}
