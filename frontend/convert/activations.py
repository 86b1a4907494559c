"""Clamps of every spelling, and the softmax that ends a classifier."""

from __future__ import annotations

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.values import Fixed, Row
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Clamp, Softmax


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
    x, bound = _with_number(call)
    return _clamp(call, x, bound, None)


def minimum(call: Call) -> Row:
    x, bound = _with_number(call)
    return _clamp(call, x, None, bound)


def softmax(call: Call) -> Row:
    return _softmax(call, log=False)


def log_softmax(call: Call) -> Row:
    return _softmax(call, log=True)


def _clamp(call: Call, x: Value, low: float | None, high: float | None) -> Row:
    return Row(call.emit(Clamp(low, high), x))


def _bound(call: Call, name: str) -> float | None:
    return None if call.arguments.get(name) is None else call.number(name)


def _with_number(call: Call) -> tuple[Value, float]:
    """The activation and the number of max(x, number), whichever comes first."""
    number_first = isinstance(call.tracked("self"), Fixed)
    x, number = ("other", "self") if number_first else ("self", "other")
    return call.row(x), call.number(number)


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
    "log_softmax": log_softmax,
    "maximum": maximum,
    "minimum": minimum,
    "relu": relu,
    "relu6": relu6,
    "softmax": softmax,
    "threshold": threshold,
}
