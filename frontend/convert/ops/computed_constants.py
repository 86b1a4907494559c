"""Numbers that all rows repeat, as an activation: learned queries whose heads join the batch.

A zero beside an element of the input is repeated, and one sum adds the numbers.
"""

from __future__ import annotations

from math import prod

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ops.affine import affine
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import Activation, Filled
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Pad, Part, Slice


def computed(call: Call, filled: Filled) -> Activation | None:
    """The numbers as a value of each row; None if the input is ids, which are no numbers."""
    static = [extent for extent in filled.shape[1:] if isinstance(extent, int)]
    if call.context.vocabulary or len(static) != len(filled.shape) - 1 or not prod(static):
        return None
    numbers = filled.tensor([1, *static])[0]
    if not numbers.is_floating_point():
        return None
    zeros = reshaped(call, _zeros(call, prod(static)), tuple(static), "row")
    return affine(call, Activation(zeros), shift=numbers.to(torch.float64))


def _zeros(call: Call, count: int) -> Value:
    """Zeros [1, count, 1], which each row has."""
    build = call.context.build
    x = next((node.output for node in build.nodes_of(Part)), build.row)
    flat = reshaped(call, x, (x.type.size,), "flat")
    first = flat if x.type.size == 1 else step(call, "element", Slice(0, 0, 1, 1), flat)
    padded = step(call, "padded", Pad((0, 0, count, 0)), reshaped(call, first, (1, 1, 1), "line"))
    return step(call, "zeros", Slice(1, 1, count + 1, 1), padded)
