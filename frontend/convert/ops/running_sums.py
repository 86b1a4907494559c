"""cumsum and diff: products with a constant matrix along one axis."""

from __future__ import annotations

from string import ascii_letters
from typing import cast

import torch

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.contractions import with_constant
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Tracked


def along_axis(call: Call) -> Tracked:
    """cumsum, diff: a constant matrix along one axis, given by the op on the unit matrix."""
    x = call.row("self")
    rank = len(x.type.shape) + 1
    axis = call.integer("dim") % rank
    if axis == 0:
        call.fail("runs along the batch (axis 0)", "every row must be predicted by itself")
    if any(call.arguments.get(name) is not None for name in ("prepend", "append")):
        call.fail("joins other tensors to its own", "join them before")
    arguments = dict(call.arguments) | {"self": torch.eye(x.type.shape[axis - 1]), "dim": 0}
    matrix = cast(torch._ops.OpOverload, call.node.target)(**arguments)
    own = ascii_letters[: rank - 1]
    out = own.replace(own[axis - 1], "Z")
    return with_constant(call, x, own, Weight(matrix), "Z" + own[axis - 1], out)


RULES: Rules = {"cumsum": along_axis, "diff": along_axis}
