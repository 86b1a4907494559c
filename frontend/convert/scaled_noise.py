"""Drawn numbers with a mean and a deviation, or between two ends."""

from __future__ import annotations

import torch

from qbnnc.frontend.convert.call import Call, number_of
from qbnnc.frontend.convert.ops.affine import affine
from qbnnc.frontend.convert.ops.arithmetic import operand, product, summed
from qbnnc.frontend.convert.tracked import Activation, Constant, Tracked
from qbnnc.ir.graph import Value


def given(call: Call, name: str, default: float) -> Tracked:
    """A parameter of a draw: a number, a constant, or what is computed."""
    if call.arguments.get(name) is None:
        return constant(default)
    return operand(call, name)


def scaled(call: Call, x: Value, scale: Tracked, shift: Tracked) -> Tracked:
    """x * scale + shift; x itself where that changes nothing."""
    whole: Tracked = Activation(x)
    if isinstance(scale, Constant) and isinstance(shift, Constant):
        if number_of(scale.tensor) == 1 and number_of(shift.tensor) == 0:
            return whole
        return affine(call, whole, scale=scale.tensor, shift=shift.tensor)
    if not (isinstance(scale, Constant) and number_of(scale.tensor) == 1):
        whole = product(call, whole, scale)
    return summed(call, whole, shift, 1.0)


def constant(number: float) -> Constant:
    return Constant(torch.tensor(number, dtype=torch.float64))
