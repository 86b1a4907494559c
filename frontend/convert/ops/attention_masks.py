"""Masks of attention that are computed from the input, such as those of padding.

Minus infinity is no number of a graph. Where softmaxes alone read it, -1e9 gives the same: exp of
a score so far below the others is 0. A row that is masked wholly is NaN in torch, and is not here.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.program.random_ops import op_name

MASKED = -1e9
_PASSING = frozenset(
    "add alias clone expand masked_fill permute reshape select slice squeeze transpose _to_copy "
    "_unsafe_view unsqueeze view where".split()
)


def readable(call: Call, tensor: Tensor) -> Tensor:
    """The tensor, with -1e9 for minus infinity if only softmaxes read what the call makes of it."""
    below = torch.isneginf(tensor)
    if not bool(below.any()) or not only_softmaxes_read(call.node):
        return tensor
    return tensor.masked_fill(below, MASKED)


def only_softmaxes_read(node: fx.Node) -> bool:
    """Whether all that is computed from a node goes through a softmax, moved or added to before."""
    if op_name(node).strip("_") == "softmax":
        return True
    waiting, seen = [node], set[fx.Node]()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if not current.users:
            return False
        for user in current.users:
            name = op_name(user)
            if name.strip("_") == "softmax":
                continue
            if name not in _PASSING:
                return False
            waiting.append(user)
    return True
