"""Unary functions that become tables of codes."""

from __future__ import annotations

from qbnnc.frontend.convert.call import Call, number_of
from qbnnc.frontend.convert.rule import Rule, Rules
from qbnnc.frontend.convert.values import Row
from qbnnc.ir.ops import Function, Unary


def plain(function: Function) -> Rule:
    """The rule of a function without parameters."""
    return lambda call: Row(call.emit(Unary(function), call.row("self")))


def gelu(call: Call) -> Row:
    tanh = call.arguments["approximate"] == "tanh"
    function = Function.GELU_TANH if tanh else Function.GELU
    return Row(call.emit(Unary(function), call.row("self")))


def leaky_relu(call: Call) -> Row:
    return _leaky(call, call.number("negative_slope"))


def prelu(call: Call) -> Row:
    slope = number_of(call.fixed("weight"))
    if slope is None:
        call.fail("has a slope for each channel; only one slope is supported (num_parameters=1)")
    return _leaky(call, slope)


def rrelu(call: Call) -> Row:
    """In eval mode the slope is the mean of its bounds."""
    if call.flag("training"):
        call.fail(
            "RReLU draws a slope for each element in training mode, and that noise has no integer "
            "form; call eval() on it (its slope is fixed then), or use LeakyReLU"
        )
    return _leaky(call, (call.number("lower") + call.number("upper")) / 2)


def elu(call: Call) -> Row:
    if call.number("scale") != 1 or call.number("input_scale") != 1:
        call.fail("is supported only with scale 1; use nn.ELU")
    return Row(call.emit(Unary(Function.ELU, call.number("alpha")), call.row("self")))


def softplus(call: Call) -> Row:
    if call.number("beta") != 1:
        call.fail(f"is supported only with beta 1, not {call.number('beta'):g}")
    return Row(call.emit(Unary(Function.SOFTPLUS), call.row("self")))


def _leaky(call: Call, slope: float) -> Row:
    return Row(call.emit(Unary(Function.LEAKY_RELU, slope), call.row("self")))


RULES: Rules = {
    "_prelu_kernel": prelu,
    "abs": plain(Function.ABS),
    "elu": elu,
    "exp": plain(Function.EXP),
    "gelu": gelu,
    "hardsigmoid": plain(Function.HARDSIGMOID),
    "hardswish": plain(Function.HARDSWISH),
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "rrelu": rrelu,
    "sigmoid": plain(Function.SIGMOID),
    "silu": plain(Function.SILU),
    "softplus": softplus,
    "tanh": plain(Function.TANH),
}
