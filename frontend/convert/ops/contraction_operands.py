"""What a contraction multiplies: extents of operands, and what one row of the batch has of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.constant_folding import are_equal
from qbnnc.frontend.convert.ops.contractions import Letters
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Chosen,
    Constant,
    Filled,
    Noise,
    Tracked,
)

_BATCH = 1 << 62  # stands for the extent of the batch; no constant has such an axis


def for_one_row(
    call: Call, operands: Sequence[Tracked], letters: Sequence[Letters]
) -> tuple[list[Tracked], list[Letters]]:
    """Numbers that all rows repeat, such as learned queries, as a constant without the batch.

    Random numbers that each row draws for itself become activations.
    """
    pairs = list(zip(operands, letters, strict=True))
    batch = next((own[:1] for each, own in pairs if isinstance(each, AnyActivation)), "")
    made, left = list[Tracked](), list[Letters]()
    for each, own in pairs:
        row = _common_row(each) if own[:1] == batch else None
        if isinstance(each, Noise) and own[:1] == batch and call.context.is_batch(each.shape[0]):
            each = Activation(call.context.value(each, call))
        made.append(each if row is None else Constant(row))
        left.append(own if row is None else own[1:])
    return made, left


def _common_row(operand: Tracked) -> torch.Tensor | None:
    """The row that all rows of numbers are equal to, if there is one."""
    match operand:
        case Filled(shape, number, row) if number is not None or row is not None:
            return operand.tensor([1, *(int(extent) for extent in shape[1:])])[0]
        case Constant(tensor) if tensor.ndim and are_equal(tensor):
            return tensor[0]
    return None


def extents_of(call: Call, operand: Tracked) -> tuple[int, ...]:
    """The length of each axis; that of the batch is larger than any constant's."""
    match operand:
        case Constant(tensor):
            return tuple(tensor.shape)
        case Chosen(members, _, per_row=False):
            return tuple(members.shape[1:])
        case Chosen():
            call.fail(
                "multiplies by a weight that is chosen for each row of the batch",
                "choose one for all rows: torch.randint(count, (1,))",
            )
        case _ if isinstance(operand, AnyActivation):
            return _BATCH, *call.context.value(operand, call).type.shape
        case Filled(shape):
            return tuple(_extent(n) for n in shape)
        case Noise() as noise:
            return tuple(_extent(n) for n in noise.shape)
        case _:
            call.fail("contracts a random mask", "multiply by it instead")


def _extent(extent: int | torch.SymInt) -> int:
    return extent if isinstance(extent, int) else _BATCH
