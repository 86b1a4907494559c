"""Concatenation of activations with numbers that all rows repeat, such as a class token.

The activations are joined with zeros in the numbers' places. One sum adds the numbers there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ops.affine import affine
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Constant,
    Filled,
    Tracked,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat, Pad


def holds_constants(parts: Sequence[Tracked]) -> bool:
    """Whether some parts are numbers that all rows repeat, and others are computed."""
    filled = [isinstance(each, Filled) for each in parts]
    return any(filled) and all(
        each or isinstance(part, AnyActivation) for each, part in zip(filled, parts, strict=True)
    )


def same_in_all_rows(call: Call, part: Tracked) -> Tracked:
    """A constant that repeats one row for a batch of fixed size, as what all rows repeat.

    `token.expand(len(x), -1, -1)` makes torch settle on the size of the batch.
    """
    match part:
        case Constant(tensor) if (
            tensor.ndim == len(call.shape())
            and call.context.is_batch(tensor.shape[0])
            and bool((tensor == tensor[:1]).all())
        ):
            return Filled(tuple(tensor.shape), None, tensor[:1].detach())
    return part


def joined(call: Call, parts: Sequence[Tracked], axis: int) -> Activation:
    """The parts along an axis of the shape, which is not the batch's."""
    places, values, zeros = list[Tensor](), list[Value](), [0]
    shape = call.row_shape()
    for part in parts:
        if isinstance(part, Filled):
            row = _row(part)
            places.append(row)
            zeros[-1] += row.shape[axis]
        else:
            value = call.context.value(part, call)
            values.append(value)
            zeros.append(0)
            places.append(torch.zeros(value.type.shape, dtype=torch.float64))
    first = _padded(call, values[0], axis, zeros[0], zeros[1])
    others = (
        _padded(call, v, axis, 0, after) for v, after in zip(values[1:], zeros[2:], strict=True)
    )
    whole = [first, *others]
    made = whole[0] if len(whole) == 1 else step(call, "joined", Concat(axis), *whole)
    numbers = torch.cat(places, axis)
    assert made.type.shape == shape
    return affine(call, Activation(made), shift=numbers) if numbers.any() else Activation(made)


def _row(filled: Filled) -> Tensor:
    """The numbers of one row, float64."""
    static = [int(extent) for extent in filled.shape[1:]]
    return filled.tensor([1, *static])[0].to(torch.float64)


def _padded(call: Call, x: Value, axis: int, before: int, after: int) -> Value:
    """x with zeros around it along an axis of its shape."""
    if not before + after:
        return x
    shape = x.type.shape
    lines = (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    zeros = step(call, "zeros", Pad((before, 0, after, 0)), reshaped(call, x, lines, "lines"))
    return reshaped(
        call, zeros, (*shape[:axis], sum((before, shape[axis], after)), *shape[axis + 1 :]), "whole"
    )
