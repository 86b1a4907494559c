"""Constants: made from nothing, or computed now from other constants."""

from __future__ import annotations

from math import prod
from typing import cast

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape
from qbnnc.frontend.convert.tracked import (
    Constant,
    Filled,
    Result,
    Tracked,
)

_MAX_FOLDED = 1 << 28  # elements: a hostile program could ask for any number


def folded(call: Call) -> Result:
    """The result of an op on constants, computed now."""
    if not all(isinstance(extent, int) for extent in bounded_shape(call)):
        call.fail("makes a tensor of the batch's size from weights", "let it broadcast instead")
    target = cast(torch._ops.OpOverload, call.node.target)
    with torch.no_grad():
        result = target(**{name: _plain(value) for name, value in call.arguments.items()})
    if isinstance(result, bool | int | float):
        return Constant(torch.tensor(result))
    return Constant(result) if isinstance(result, Tensor) else tuple(map(Constant, result))


def bounded_shape(call: Call) -> Shape:
    """The shape of the result; CompileError if it is larger than any model's."""
    shape = call.shape() if isinstance(call.node.meta["val"], Tensor) else ()
    if prod(extent for extent in shape if isinstance(extent, int)) > _MAX_FOLDED:
        call.fail(f"makes a constant of shape {list(shape)}", "that is more than a model may hold")
    return shape


def _plain(value: object) -> object:
    match value:
        case Constant(tensor):
            return tensor
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def zeros(call: Call) -> Tracked:
    return _filled(call, 0.0)


def ones(call: Call) -> Tracked:
    return _filled(call, 1.0)


def full(call: Call) -> Tracked:
    return _filled(call, call.number("fill_value"))


def empty(call: Call) -> Tracked:
    """A tensor that is not initialised, fit only to be drawn into."""
    return Filled(call.shape(), None)


def _filled(call: Call, number: float) -> Tracked:
    shape = call.shape()
    static = [extent for extent in shape if isinstance(extent, int)]
    if len(static) != len(shape) or any(call.context.is_batch(extent) for extent in shape[:1]):
        return Filled(shape, number)
    return Constant(torch.full(static, number))


MAKING_RULES: Rules = {
    **dict.fromkeys("zeros zeros_like new_zeros".split(), zeros),
    **dict.fromkeys("ones ones_like new_ones".split(), ones),
    **dict.fromkeys("full full_like new_full".split(), full),
    **dict.fromkeys("empty empty_like new_empty empty_permuted".split(), empty),
}
