"""Powers, roots and reciprocals of activations."""

from __future__ import annotations

import math

from qbnnc.frontend.convert.call import Call, Rule, Rules
from qbnnc.frontend.convert.ops.elementwise_formulas import computed
from qbnnc.frontend.convert.ops.shapes import step
from qbnnc.frontend.convert.tracked import Activation, AnyActivation, Filled, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Function, Unary


def raised(call: Call) -> Tracked:
    """x ** number, or number ** x."""
    base, exponent = (call.tracked(name) for name in ("self", "exponent"))
    if isinstance(base, AnyActivation) and isinstance(exponent, AnyActivation):
        call.fail(
            "raises an activation to a power that depends on the input",
            "only a constant exponent or a constant base is supported, so write exp(b * log(a))",
        )
    if isinstance(base, AnyActivation):
        return _power_of_row(call, call.number("exponent"))
    return _exponential(call, call.number("self"))


def _power_of_row(call: Call, exponent: float) -> Tracked:
    x = call.row("self")
    if exponent == 0:
        return Filled(call.shape(), 1.0)
    return Activation(x if exponent == 1 else power(call, x, exponent))


def _exponential(call: Call, base: float) -> Activation:
    if base <= 0:
        call.fail(f"is a power of {base:g}", "the base must be positive")
    return computed(call, call.row("exponent"), lambda x: (x * math.log(base)).of(Function.EXP))


def of_exponent(exponent: float) -> Rule:
    return lambda call: Activation(power(call, call.row("self"), exponent))


def power(call: Call, x: Value, exponent: float, suffix: str = "") -> Value:
    """x ** exponent, as one step of a call."""
    return step(call, suffix, Unary(Function.POW, exponent), x)


RULES: Rules = {
    "float_power": raised,
    "pow": raised,
    "reciprocal": of_exponent(-1.0),
    "rsqrt": of_exponent(-0.5),
    "sqrt": of_exponent(0.5),
    "square": of_exponent(2.0),
}
