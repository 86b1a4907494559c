"""Dropout ops: every spelling that torch has an op for."""

from __future__ import annotations

import torch

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Drawn, Shape
from qbnnc.frontend.convert.tracked import (
    Constant,
    DropoutMask,
    Filled,
    Noise,
    Result,
    Tracked,
)


def dropout(call: Call) -> Tracked:
    return _dropout(call, call.shape())


def native_dropout(call: Call) -> Result:
    """Dropout that gives (the masked tensor, the mask)."""
    kept = _dropout(call, call.shape(0))
    return kept, DropoutMask(Drawn(call.node, call.shape(0)), call.shape(0), call.number("p"))


def feature_dropout(call: Call) -> Tracked:
    """Dropout1d, 2d, 3d, with one draw for each channel."""
    shape = call.shape()
    return _dropout(call, shape[:2] + (1,) * (len(shape) - 2))


def _dropout(call: Call, shape: Shape) -> Tracked:
    p, x = call.number("p"), call.tracked("input")
    if call.arguments["train"] is False:
        return x
    if not 0 <= p < 1:
        call.fail(f"drops with probability {p:g}", "it must be at least 0 and below 1")
    keep = DropoutMask(Drawn(call.node, shape), call.shape(), p, 1 / (1 - p))
    match x:
        case Filled(_, number) if number is not None:
            return keep.scaled(number)
        case Constant(tensor) if (number := number_of(tensor)) is not None:
            return keep.scaled(number)
        case Noise() if not shape or not call.context.is_batch(shape[0]):
            return _dropped(call, x, keep)
        case Constant():
            return _dropped(call, x, keep)
        case _:
            return call.context.masked(call.context.value(x, call), keep, call)


def _dropped(call: Call, weight: Noise | Constant, keep: DropoutMask) -> Noise:
    """A weight under a mask (DropConnect)."""
    return Noise(call.node, torch.ops.aten.mul.Tensor, {"self": weight, "other": keep})


DROPOUT_RULES: Rules = {
    "dropout": dropout,
    "feature_dropout": feature_dropout,
    "native_dropout": native_dropout,
}
