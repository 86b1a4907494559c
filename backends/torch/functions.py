"""Unary functions in PyTorch, differentiable (their definitions: `qbnnc.ir.ops.unary`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qbnnc.ir.ops import Function


def unary(function: Function, parameter: float, x: Tensor) -> Tensor:
    """f of every element, in x's element type."""
    match function:
        case Function.SIGMOID:
            return torch.sigmoid(x)
        case Function.TANH:
            return torch.tanh(x)
        case Function.SILU:
            return F.silu(x)
        case Function.GELU:
            return F.gelu(x)
        case Function.GELU_TANH:
            return F.gelu(x, approximate="tanh")
        case Function.HARDSIGMOID:
            return F.hardsigmoid(x)
        case Function.HARDSWISH:
            return F.hardswish(x)
        case Function.LEAKY_RELU:
            return F.leaky_relu(x, parameter)
        case Function.ELU:
            return F.elu(x, parameter)
        case Function.SOFTPLUS:
            return torch.logaddexp(x, x.new_zeros(()))
        case Function.EXP:
            return torch.exp(x)
        case Function.ABS:
            return torch.abs(x)
