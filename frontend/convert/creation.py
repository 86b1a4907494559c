"""Tensors made from nothing, in a shape that may depend on the batch."""

from __future__ import annotations

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.values import Filled, Fixed, Tracked


def zeros(call: Call) -> Tracked:
    return _filled(call, 0.0)


def ones(call: Call) -> Tracked:
    return _filled(call, 1.0)


def full(call: Call) -> Tracked:
    return _filled(call, call.number("fill_value"))


def empty(call: Call) -> Tracked:
    """Not initialised: fit only to be drawn into."""
    return Filled(call.shape(), None)


def _filled(call: Call, number: float) -> Tracked:
    shape = call.shape()
    static = [extent for extent in shape if isinstance(extent, int)]
    if len(static) != len(shape) or any(call.scope.is_batch(extent) for extent in shape[:1]):
        return Filled(shape, number)
    return Fixed(torch.full(static, number))


RULES: Rules = {
    **dict.fromkeys("zeros zeros_like new_zeros".split(), zeros),
    **dict.fromkeys("ones ones_like new_ones".split(), ones),
    **dict.fromkeys("full full_like new_full".split(), full),
    **dict.fromkeys("empty empty_like new_empty empty_permuted".split(), empty),
}
