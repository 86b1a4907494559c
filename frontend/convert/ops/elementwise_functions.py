"""Functions of one element; each becomes a table of quantised values."""

from __future__ import annotations

import math

import numpy as np

from qbnnc.frontend.convert.call import Call, Rule, Rules, number_of
from qbnnc.frontend.convert.ops.elementwise_formulas import Term, computed, formula
from qbnnc.frontend.convert.ops.shapes import step
from qbnnc.frontend.convert.tracked import Activation, Tracked
from qbnnc.ir.ops import Add, Affine, Clamp, Function, Unary

_SATURATED = 20.0  # softplus(x) is x from here on, in float32


def plain(function: Function) -> Rule:
    """The rule of a function without parameters."""
    return lambda call: Activation(call.emit(Unary(function), call.row("self")))


def gelu(call: Call) -> Activation:
    tanh = call.arguments["approximate"] == "tanh"
    function = Function.GELU_TANH if tanh else Function.GELU
    return Activation(call.emit(Unary(function), call.row("self")))


def leaky_relu(call: Call) -> Activation:
    return _leaky(call, call.number("negative_slope"))


def rrelu(call: Call) -> Tracked:
    """A leaky ReLU with the mean slope; CompileError in training mode."""
    if call.flag("training"):
        call.fail(
            "draws a slope for each activation, and noise on activations is no dropout mask",
            "call eval() on it, where it has the mean slope",
        )
    return _leaky(call, (call.number("lower") + call.number("upper")) / 2)


def rrelu_functional(call: Call) -> tuple[Tracked, ...]:
    """The first of (the result, the slopes for the gradient)."""
    return (rrelu(call),)


def prelu(call: Call) -> Activation:
    """A leaky ReLU for one slope; max(x, 0) + slope * min(x, 0) for a slope of each channel."""
    slopes, x = call.fixed("weight"), call.row("self")
    slope = number_of(slopes)
    if slope is not None:
        return _leaky(call, slope)
    rank = len(x.type.shape)
    if slopes.ndim == 1:  # one for each channel, the axis after the batch
        slopes = slopes.reshape(-1, *[1] * (rank - 1))
    scale = call.constant("slopes", slopes.reshape(slopes.shape[-rank:]))
    shift = call.constant("shift", slopes.new_zeros(()))
    positive = step(call, "positive", Clamp(0.0, None), x)
    negative = step(call, "negative", Clamp(None, 0.0), x)
    sloped = step(call, "sloped", Affine(), negative, scale, shift)
    return Activation(call.emit(Add(), positive, sloped))


def elu(call: Call) -> Activation:
    """ELU: scale * x above 0, else scale * alpha * (exp(input_scale * x) - 1)."""
    names = ("alpha", "scale", "input_scale")
    return _elu(call, *(call.number(name) for name in names))


def celu(call: Call) -> Activation:
    alpha = call.number("alpha")
    if alpha == 0:
        call.fail("divides by alpha, which is 0")
    return _elu(call, alpha, 1.0, 1 / alpha)


def selu(call: Call) -> Activation:
    """ELU with the constants of Klambauer et al., Self-Normalizing Neural Networks, 2017."""
    return _elu(call, 1.6732632423543772, 1.0507009873554805, 1.0)


def _elu(call: Call, alpha: float, scale: float, input_scale: float) -> Activation:
    x = call.row("self")
    if (scale, input_scale) == (1, 1):
        return Activation(call.emit(Unary(Function.ELU, alpha), x))

    def scaled(x: Term) -> Term:
        below = (x.at_most(0.0) * input_scale).of(Function.EXPM1) * (scale * alpha)
        return x.at_least(0.0) * scale + below

    return computed(call, x, scaled)


def softplus(call: Call) -> Activation:
    """log(1 + exp(beta * x)) / beta; x itself if beta * x is above the threshold."""
    beta, threshold = call.number("beta"), call.number("threshold")
    if beta == 0:
        call.fail("divides by beta, which is 0")
    x = call.row("self")
    if beta == 1:
        return Activation(call.emit(_softplus(threshold), x))

    def sharper(x: Term) -> Term:
        op = _softplus(threshold)
        return (x * beta).of(op.function, op.parameter) * (1 / beta)

    return computed(call, x, sharper)


def _softplus(threshold: float) -> Unary:
    if threshold >= _SATURATED:
        return Unary(Function.SOFTPLUS)
    return Unary(Function.SOFTPLUS_UNTIL, threshold)


def log_sigmoid_forward(call: Call) -> tuple[Tracked, ...]:
    """The first of (the result, a buffer for the gradient)."""
    return (Activation(call.emit(Unary(Function.LOG_SIGMOID), call.row("self"))),)


def logit(call: Call) -> Activation:
    eps = call.arguments.get("eps")
    bound = None if eps is None else call.number("eps")

    def odds(x: Term) -> Term:
        p = x if bound is None else x.at_least(bound).at_most(1 - bound)
        return p.of(Function.LOG) - p.affine(-1.0, 1.0).of(Function.LOG)

    return computed(call, call.row("self"), odds)


def hardshrink(call: Call) -> Activation:
    """x, or 0 if |x| is at most lambda."""
    bound = call.number("lambd")

    def shrunk(x: Term) -> Term:
        return x.of(Function.ABS).of(Function.ABOVE, single(bound)) * x

    return computed(call, call.row("self"), shrunk)


def softshrink(call: Call) -> Activation:
    """x - clamp(x, -lambda, lambda)."""
    bound = call.number("lambd")
    return computed(call, call.row("self"), lambda x: x - x.at_least(-bound).at_most(bound))


def threshold(call: Call) -> Activation:
    """x if it is above the threshold, else the value; a clamp if the two are equal."""
    bound, value, x = call.number("threshold"), call.number("value"), call.row("self")
    if bound == value:
        return Activation(call.emit(Clamp(bound, None), x))
    return computed(call, x, lambda x: x.of(Function.ABOVE, single(bound)).chosen(x, value))


def single(number: float) -> float:
    """The float32 nearest to a number, which torch compares with."""
    return float(np.float32(number))


def _leaky(call: Call, slope: float) -> Activation:
    return Activation(call.emit(Unary(Function.LEAKY_RELU, slope), call.row("self")))


def _erfc(x: Term) -> Term:
    return x.of(Function.ERF).affine(-1.0, 1.0)


def _asin(x: Term) -> Term:
    """atan(x / sqrt(1 - x^2))."""
    return ((x * x).affine(-1.0, 1.0).of(Function.POW, -0.5) * x).of(Function.ATAN)


def _sinc(x: Term) -> Term:
    """sin(pi x) / (pi x), and 1 at 0."""
    angle = x * math.pi
    quotient = angle.of(Function.SIN) * angle.of(Function.POW, -1.0)
    return x.of(Function.ABS).of(Function.ABOVE, 0.0).chosen(quotient, 1.0)


def _entropy(x: Term) -> Term:
    """-x log x, and 0 at 0."""
    whole = -(x.of(Function.LOG) * x)
    return x.of(Function.ABS).of(Function.ABOVE, 0.0).chosen(whole, 0.0)


_PLAIN = {
    "abs": Function.ABS,
    "absolute": Function.ABS,
    "arctan": Function.ATAN,
    "arcsinh": Function.ASINH,
    "asinh": Function.ASINH,
    "atan": Function.ATAN,
    "cos": Function.COS,
    "cosh": Function.COSH,
    "erf": Function.ERF,
    "exp": Function.EXP,
    "expm1": Function.EXPM1,
    "hardsigmoid": Function.HARDSIGMOID,
    "hardswish": Function.HARDSWISH,
    "log": Function.LOG,
    "log1p": Function.LOG1P,
    "log_sigmoid": Function.LOG_SIGMOID,
    "mish": Function.MISH,
    "sgn": Function.SIGN,
    "sigmoid": Function.SIGMOID,
    "sign": Function.SIGN,
    "silu": Function.SILU,
    "sin": Function.SIN,
    "sinh": Function.SINH,
    "special_erf": Function.ERF,
    "special_expit": Function.SIGMOID,
    "special_expm1": Function.EXPM1,
    "special_log1p": Function.LOG1P,
    "tan": Function.TAN,
    "tanh": Function.TANH,
}

_FORMULAS: Rules = {
    "acos": formula(lambda x: _asin(x).affine(-1.0, math.pi / 2)),
    "acosh": formula(
        lambda x: (x + (x * x).affine(1.0, -1.0).of(Function.POW, 0.5)).of(Function.LOG)
    ),
    "asin": formula(_asin),
    "atanh": formula(lambda x: (x.of(Function.LOG1P) - (-x).of(Function.LOG1P)) * 0.5),
    "erfc": formula(_erfc),
    "exp2": formula(lambda x: (x * math.log(2)).of(Function.EXP)),
    "log10": formula(lambda x: x.of(Function.LOG) * (1 / math.log(10))),
    "log2": formula(lambda x: x.of(Function.LOG) * (1 / math.log(2))),
    "sinc": formula(_sinc),
    "special_entr": formula(_entropy),
    "special_ndtr": formula(lambda x: (x * math.sqrt(0.5)).of(Function.ERF).affine(0.5, 0.5)),
}

_ALIASES = {
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arctanh": "atanh",
    "special_erfc": "erfc",
    "special_exp2": "exp2",
    "special_sinc": "sinc",
}

RULES: Rules = {
    **{name: plain(function) for name, function in _PLAIN.items()},
    **_FORMULAS,
    **{name: _FORMULAS[of] for name, of in _ALIASES.items()},
    "_prelu_kernel": prelu,
    "celu": celu,
    "elu": elu,
    "gelu": gelu,
    "hardshrink": hardshrink,
    "leaky_relu": leaky_relu,
    "log_sigmoid_forward": log_sigmoid_forward,
    "logit": logit,
    "prelu": prelu,
    "rrelu": rrelu,
    "rrelu_with_noise": rrelu,
    "rrelu_with_noise_functional": rrelu_functional,
    "selu": selu,
    "softplus": softplus,
    "softshrink": softshrink,
    "special_logit": logit,
    "threshold": threshold,
}
