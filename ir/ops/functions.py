"""Functions of one number, in float64: what tables of codes are made from."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
_SQRT_2_PI = math.sqrt(2 / math.pi)


class Function(Enum):
    """f(x), with the parameter a where there is one. Outside its domain f is NaN or infinite."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    SILU = "silu"  # x * sigmoid(x)
    GELU = "gelu"  # x * Phi(x), by erf
    GELU_TANH = "gelu_tanh"  # the tanh approximation
    HARDSIGMOID = "hardsigmoid"  # clip(x/6 + 1/2, 0, 1)
    HARDSWISH = "hardswish"  # x * hardsigmoid(x)
    LEAKY_RELU = "leaky_relu"  # x if x > 0 else a*x
    ELU = "elu"  # x if x > 0 else a*(exp(x) - 1)
    SOFTPLUS = "softplus"  # log(1 + exp(x))
    EXP = "exp"
    ABS = "abs"
    SOFTPLUS_UNTIL = "softplus_until"  # x if x > a else log(1 + exp(x))
    LOG_SIGMOID = "log_sigmoid"  # -log(1 + exp(-x))
    MISH = "mish"  # x * tanh(softplus(x))
    POW = "pow"  # x ** a: squares, roots, reciprocals
    EXPM1 = "expm1"  # exp(x) - 1
    LOG = "log"
    LOG1P = "log1p"  # log(1 + x)
    ERF = "erf"
    SIN = "sin"
    COS = "cos"
    TAN = "tan"
    SINH = "sinh"
    COSH = "cosh"
    ATAN = "atan"
    ASINH = "asinh"
    SIGN = "sign"  # -1, 0 or 1
    ABOVE = "above"  # 1 if x > a else 0
    AT_LEAST = "at_least"  # 1 if x >= a else 0

    def __call__(self, x: Float64, parameter: float) -> Float64:
        """f(x) in float64."""
        with np.errstate(all="ignore"):
            return np.asarray(_FORMULAS[self](x, parameter), np.float64)


def _sigmoid(x: Float64) -> Float64:
    return np.exp(-np.logaddexp(0, -x))


def _softplus(x: Float64) -> Float64:
    return np.logaddexp(x, 0)


def _phi(x: Float64) -> Float64:
    """The distribution function of N(0, 1)."""
    return 0.5 * (1 + _erf(x / math.sqrt(2)))


def _erf(x: Float64) -> Float64:
    y: Float64 = np.vectorize(math.erf, otypes=[np.float64])(x)
    return y


def _gelu_tanh(x: Float64) -> Float64:
    y: Float64 = 0.5 * x * (1 + np.tanh(_SQRT_2_PI * (x + 0.044715 * x**3)))
    return y


_FORMULAS: dict[Function, Callable[[Float64, float], Float64]] = {
    Function.SIGMOID: lambda x, a: _sigmoid(x),
    Function.TANH: lambda x, a: np.tanh(x),
    Function.SILU: lambda x, a: x * _sigmoid(x),
    Function.GELU: lambda x, a: x * _phi(x),
    Function.GELU_TANH: lambda x, a: _gelu_tanh(x),
    Function.HARDSIGMOID: lambda x, a: np.clip(x / 6 + 0.5, 0, 1),
    Function.HARDSWISH: lambda x, a: x * np.clip(x / 6 + 0.5, 0, 1),
    Function.LEAKY_RELU: lambda x, a: np.where(x > 0, x, a * x),
    Function.ELU: lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0))),
    Function.SOFTPLUS: lambda x, a: _softplus(x),
    Function.EXP: lambda x, a: np.exp(x),
    Function.ABS: lambda x, a: np.abs(x),
    Function.SOFTPLUS_UNTIL: lambda x, a: np.where(x > a, x, _softplus(x)),
    Function.LOG_SIGMOID: lambda x, a: -_softplus(-x),
    Function.MISH: lambda x, a: x * np.tanh(_softplus(x)),
    Function.POW: lambda x, a: np.power(x, a),
    Function.EXPM1: lambda x, a: np.expm1(x),
    Function.LOG: lambda x, a: np.log(x),
    Function.LOG1P: lambda x, a: np.log1p(x),
    Function.ERF: lambda x, a: _erf(x),
    Function.SIN: lambda x, a: np.sin(x),
    Function.COS: lambda x, a: np.cos(x),
    Function.TAN: lambda x, a: np.tan(x),
    Function.SINH: lambda x, a: np.sinh(x),
    Function.COSH: lambda x, a: np.cosh(x),
    Function.ATAN: lambda x, a: np.arctan(x),
    Function.ASINH: lambda x, a: np.arcsinh(x),
    Function.SIGN: lambda x, a: np.sign(x),
    Function.ABOVE: lambda x, a: (x > a).astype(np.float64),
    Function.AT_LEAST: lambda x, a: (x >= a).astype(np.float64),
}
