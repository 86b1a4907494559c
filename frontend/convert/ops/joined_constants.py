"""Concatenation of activations with numbers that all rows repeat, such as a class token.

The activations are joined with zeros in the numbers' places. One sum adds the numbers there.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.constant_folding import are_equal
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


def known(call: Call, part: Tracked) -> Tracked:
    """The part; numbers that are the same in each row of a batch of known size are `Filled`.

    A class token is expanded to len(x) rows, which are so many in a static export.
    """
    if not isinstance(part, Constant) or part.tensor.ndim != len(call.shape()):
        return part
    tensor = part.tensor
    if not call.context.is_batch(len(tensor)) or not are_equal(tensor):
        return part
    return Filled(tuple(tensor.shape), None, tensor[0])


def holds_constants(parts: Sequence[Tracked]) -> bool:
    """Whether some parts are numbers that all rows repeat, and others are computed."""
    filled = [isinstance(each, Filled) for each in parts]
    return any(filled) and all(
        each or isinstance(part, AnyActivation) for each, part in zip(filled, parts, strict=True)
    )


def joined(call: Call, parts: Sequence[Tracked], axis: int) -> Activation:
    """The parts along an axis of the shape, which is not the batch's."""
    places, values, zeros = list[Tensor](), list[Value](), [0]
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
