"""Functions of every element in PyTorch, differentiable (defined in `qbnnc.ir.ops.functions`)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.ir.ops import Composite, Function, Operation, Step, Unary


def pointwise(op: Unary | Composite, x: Tensor) -> Tensor:
    """f of every element, in x's element type."""
    match op:
        case Unary(function, parameter):
            return unary(function, parameter, x)
        case Composite(steps):
            values = [x]
            for step in steps:
                values.append(_apply(step, [values[operand] for operand in step.operands]))
            return values[-1]


def unary(function: Function, parameter: float, x: Tensor) -> Tensor:
    """One function that has a name."""
    match function:
        case Function.LEAKY_RELU:
            return F.leaky_relu(x, parameter)
        case Function.ELU:
            return F.elu(x, parameter)
        case Function.SOFTPLUS_UNTIL:
            return torch.where(x > parameter, x, _softplus(x))
        case Function.POW:
            return torch.pow(x, parameter)
        case Function.ABOVE:
            return (x > parameter).to(x.dtype)
        case Function.AT_LEAST:
            return (x >= parameter).to(x.dtype)
    return _WITHOUT_PARAMETER[function](x)


def _apply(step: Step, operands: list[Tensor]) -> Tensor:
    match step.operation, operands:
        case Operation.FUNCTION, [a] if step.function is not None:
            return unary(step.function, step.numbers[0], a)
        case Operation.AFFINE, [a]:
            return a * step.numbers[0] + step.numbers[1]
        case Operation.LOWER_BOUND, [a]:
            return a.clamp(min=step.numbers[0])
        case Operation.UPPER_BOUND, [a]:
            return a.clamp(max=step.numbers[0])
        case Operation.ADD, [a, b]:
            return a + b
        case Operation.MULTIPLY, [a, b]:
            return a * b
        case Operation.WHERE, [a, b, c]:
            return torch.where(a != 0, b, c)
    raise ValueError(f"{step} is no step")


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, x.new_zeros(()))


_WITHOUT_PARAMETER: dict[Function, Callable[[Tensor], Tensor]] = {
    Function.SIGMOID: torch.sigmoid,
    Function.TANH: torch.tanh,
    Function.SILU: F.silu,
    Function.GELU: F.gelu,
    Function.GELU_TANH: lambda x: F.gelu(x, approximate="tanh"),
    Function.HARDSIGMOID: F.hardsigmoid,
    Function.HARDSWISH: F.hardswish,
    Function.SOFTPLUS: _softplus,
    Function.EXP: torch.exp,
    Function.ABS: torch.abs,
    Function.LOG_SIGMOID: F.logsigmoid,
    Function.MISH: F.mish,
    Function.EXPM1: torch.expm1,
    Function.LOG: torch.log,
    Function.LOG1P: torch.log1p,
    Function.ERF: torch.erf,
    Function.SIN: torch.sin,
    Function.COS: torch.cos,
    Function.TAN: torch.tan,
    Function.SINH: torch.sinh,
    Function.COSH: torch.cosh,
    Function.ATAN: torch.atan,
    Function.ASINH: torch.asinh,
    Function.SIGN: torch.sign,
}
