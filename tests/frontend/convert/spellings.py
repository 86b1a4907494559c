"""Functions of one element, in the spellings of torch: each takes [B, 4, ...] of any rank."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]
ONE, THREE = torch.tensor(1.0), torch.tensor([3.0])
BETA = nn.Parameter(torch.tensor([[0.7]]))
KEPT = torch.tensor([True, False, True, True])


def positive(f: Function) -> Function:
    """f of what is above 0."""
    return lambda x: f(x.abs() + 0.1)


def unit(f: Function) -> Function:
    """f of what is between 0 and 1."""
    return lambda x: f(x.sigmoid())


def prelu(x: Tensor) -> Tensor:
    """A slope for each channel."""
    return F.prelu(x, torch.tensor([0.1, 0.9, -0.5, 2.0]))


def channels(x: Tensor, *numbers: float) -> Tensor:
    """A constant for each channel, as it broadcasts to x."""
    return torch.tensor(numbers).reshape(-1, *[1] * (x.ndim - 2))


GROUPS: dict[str, dict[str, Function]] = {
    "powers": {
        "square": lambda x: x**2,
        "torch.square": torch.square,
        "in place": lambda x: x.clone().pow_(3),
        "float_power": lambda x: torch.float_power(x, 2).float(),
        "of a tensor": lambda x: x**THREE,
        "inverse": positive(lambda x: x**-1),
        "root": positive(lambda x: x**0.5),
        "2.5": positive(lambda x: x.pow(2.5)),
        "GeM": lambda x: x.clamp_min(1e-3).pow(BETA[0]).abs().pow(1 / BETA[0]),
        "base": lambda x: 2**x + torch.pow(0.3, x) + torch.tensor(1.5) ** x,
        "zero": lambda x: x**0 + x**1,
        "sqrt": positive(torch.sqrt),
        "rsqrt": positive(lambda x: x.rsqrt()),
        "reciprocal": positive(torch.reciprocal),
        "1/x": positive(lambda x: 1 / x + 3 / x),
        "quotient": lambda x: x / (x * x + 1),
        "quotient of parts": lambda x: x[:, :2] / (x[:, 2:].exp() + 1),
        "quotient by a gate": lambda x: x / (1 + x[:, :1].exp()),
        "constant by x": lambda x: channels(x, 1, 2, 3, 4) / (1 + x.exp()),
        "softsign": F.softsign,
    },
    "exponentials": {
        "exp": torch.exp,
        "expm1": torch.expm1,
        "exp2": torch.exp2,
        "special.exp2": torch.special.exp2,
        "sinh": torch.sinh,
        "cosh": torch.cosh,
        "log": positive(torch.log),
        "log1p": positive(lambda x: x.log1p()),
        "log2": positive(torch.log2),
        "log10": positive(torch.log10),
        "logit": unit(torch.logit),
        "logit with eps": lambda x: torch.logit(x, 0.2),
        "special.log1p": positive(torch.special.log1p),
        "logaddexp": lambda x: torch.logaddexp(x, ONE),
        "logaddexp of two": lambda x: torch.logaddexp(x, -x),
        "logaddexp2": lambda x: torch.logaddexp2(ONE, x),
        "xlogy": positive(lambda x: torch.xlogy(x, 2.0) + torch.special.xlogy(2.0, x)),
        "entropy": unit(torch.special.entr),
        "log of exp": lambda x: x.exp().add(1).log_(),
    },
    "circles": {
        "sin": torch.sin,
        "cos": torch.cos,
        "tan": torch.tan,
        "atan": torch.arctan,
        "asinh": torch.asinh,
        "asin": unit(torch.asin),
        "acos": unit(torch.arccos),
        "acosh": positive(lambda x: (x + 1).acosh()),
        "atanh": unit(lambda x: (x - 0.5).atanh()),
        "sinc": torch.sinc,
        "erf": torch.erf,
        "erfc": torch.special.erfc,
        "ndtr": torch.special.ndtr,
        "degrees": lambda x: torch.deg2rad(x) + torch.rad2deg(x),
        "snake": lambda x: x + torch.sin(0.7 * x) ** 2 / 0.7,
    },
    "activations": {
        "mish": F.mish,
        "mish by hand": lambda x: x * torch.tanh(F.softplus(x)),
        "selu": F.selu,
        "celu": lambda x: F.celu(x, 0.7),
        "celu < 0": lambda x: F.celu(x, -0.5),
        "elu": lambda x: F.elu(x, 0.3),
        "elu of scales": lambda x: torch.ops.aten.elu(x, 0.7, 1.2, 0.5),
        "elu of a negative scale": lambda x: torch.ops.aten.elu(x, 0.7, 1.2, -0.5),
        "glu": lambda x: F.glu(x, 1),
        "logsigmoid": F.logsigmoid,
        "softplus": lambda x: F.softplus(x, 2),
        "softplus < 0": lambda x: F.softplus(x, -2),
        "softplus of a threshold": lambda x: F.softplus(x, 1, 0.5) + F.softplus(x, 0.5, 1),
        "hardshrink": lambda x: F.hardshrink(x, 0.5),
        "softshrink": F.softshrink,
        "tanhshrink": F.tanhshrink,
        "threshold": lambda x: F.threshold(x, 0.5, 20.0),
        "threshold as a clamp": lambda x: F.threshold(x, 0.3, 0.3),
        "hardtanh": lambda x: F.hardtanh(x, -2, 0.5),
        "relu6": lambda x: F.relu6(4 * x),
        "leaky": lambda x: F.leaky_relu(x, 0.2),
        "rrelu": lambda x: F.rrelu(x, 0.1, 0.3),
        "prelu": prelu,
        "expit": torch.special.expit,
        "silu": F.silu,
        "gelu": lambda x: F.gelu(x) + F.gelu(x, approximate="tanh"),
        "hard": lambda x: F.hardsigmoid(4 * x) + F.hardswish(4 * x),
        "swish of a learned beta": lambda x: x * torch.sigmoid(BETA.reshape(()) * x),
    },
    "bounds": {
        "tensors": lambda x: x.clamp(torch.tensor(-0.5), torch.tensor([0.75])),
        "one tensor": lambda x: torch.clip(x, max=torch.full((4,), 0.3)[:1]),
        "channels": lambda x: x.clamp(channels(x, -1, 0, 0.2, 0.5), channels(x, 1, 1, 0.3, 0.5)),
        "upper": lambda x: torch.minimum(x, channels(x, -1, 0, 0.2, 0.5)),
        "lower": lambda x: torch.maximum(channels(x, -1, 0, 0.2, 0.5), x),
        "crossed": lambda x: x.clamp(1, -1) + x.clamp(-float("inf"), 1),
        "nan_to_num": torch.nan_to_num,
        "abs": lambda x: x.absolute() - torch.abs(x - 1),
        "negative": lambda x: torch.negative(x) + x.neg(),
    },
    "comparisons": {
        "step": lambda x: (x > 0) * x,
        "step as float": lambda x: (x >= 0.5).float() * x + (x < 0.5).to(x.dtype),
        "int": lambda x: ((x > 0).int() + (x > 1).long()) * x,
        "equal": lambda x: (x == 0) * 3.0 + (x != 1).float(),
        "at 0.1": lambda x: (x > 0.1).double().float() - (x <= 0.1).float(),
        "number first": lambda x: (torch.tensor(0.5) > x).float() * 2 + (x >= ONE).float(),
        "channel": lambda x: (x > channels(x, 0, 1, -1, 0.5)) * x,
        "two": lambda x: (x > x.flip(1)).float() * x,
        "not": lambda x: ~(x > 0) * x,
        "and": lambda x: ((x > -0.5) & (x < 1)) * x,
        "logical": lambda x: torch.logical_or(x > 1, x.logical_not()) * 2.0,
        "xor": lambda x: ((x > 0) ^ (x < 1)).float(),
        "bool": lambda x: x.bool() * x,
        "sign": lambda x: x.sign() + torch.sgn(x - 1),
        "heaviside": lambda x: torch.heaviside(x, torch.tensor(0.3)),
    },
    "choices": {
        "leaky": lambda x: torch.where(x > 0, x, 0.1 * x),
        "border": lambda x: torch.where(x >= 0.5, 1.0, x),
        "two numbers": lambda x: torch.where(x <= 0.5, 2.0, 3.0) * x,
        "zeros": lambda x: x.where(x > 0, torch.zeros_like(x)),
        "safe root": lambda x: torch.where(x > 0, x.sqrt(), -(x.abs().sqrt())),
        "safe log": lambda x: torch.where(x > 0, x.log(), 0.0),
        "safe softplus": lambda x: torch.where(x > 1, x, torch.exp(80 * x).log1p() / 80),
        "between": lambda x: torch.where((x > 0) & (x < 1), x, 0.0),
        "masked_fill": lambda x: x.masked_fill(x < 0, -1.0),
        "of the row": lambda x: torch.where(x[:, :1] > 0, x, x.flip(1)),
        "constant": lambda x: torch.where(KEPT.reshape(channels(x, *range(4)).shape), x, 0.5),
        "constant fill": lambda x: x.masked_fill(KEPT.reshape(channels(x, *range(4)).shape), 0.0),
        "of two": lambda x: torch.where(x.flip(1) > 0, x, -2.0),
    },
    "blends": {
        "lerp": lambda x: torch.lerp(x, x.tanh(), 0.3),
        "lerp to a number": lambda x: torch.lerp(x, torch.tensor(1.0), 0.3),
        "gate": lambda x: torch.lerp(x, -x, x.sigmoid()),
        "addcmul": lambda x: torch.addcmul(x, x, torch.tensor(2.0), value=0.3),
        "addcmul of two": lambda x: torch.addcmul(ONE, x, x, value=2),
        "addcdiv": lambda x: torch.addcdiv(x, x, x * x + 1, value=2),
        "addcdiv of numbers": lambda x: torch.addcdiv(x, torch.tensor(1.0), torch.tensor(4.0)),
        "ldexp": lambda x: x.ldexp(torch.tensor(2)),
    },
    "numbers": {
        "item": lambda x: x * torch.tensor(0.3).item() + torch.tensor(2).item(),
        "float": lambda x: x * (float(BETA) * 2 + 1),
        "parameter": lambda x: (x * BETA.reshape(1) + BETA.reshape(())) / BETA[0],
        "integer": lambda x: x * torch.tensor(3) - torch.arange(1),
        "bool": lambda x: x * torch.tensor([True]) + torch.tensor(False),
        "channels of bool": lambda x: x * KEPT.reshape(channels(x, *range(4)).shape),
        "alpha": lambda x: x.add(2, alpha=3).sub(x, alpha=0.5).add_(BETA[0], alpha=2),
        "rsub": lambda x: torch.rsub(x, torch.tensor([1.0]), alpha=2),
        "names": lambda x: torch.multiply(x, torch.subtract(x, 1)) + torch.true_divide(x, 3),
        "in place": lambda x: x.clone().mul_(2).div_(torch.tensor([4.0])).sub_(1).neg_(),
        "the input in place": lambda x: x.mul_(BETA.reshape(())),
        "ReZero": lambda x: x + BETA.reshape(()) * x.tanh(),
        "std": lambda x: x + x.std(1, keepdim=True),
    },
}  # fmt: skip
