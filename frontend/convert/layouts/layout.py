"""The layout of a tensor: which of torch's axes is the batch, or holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from qbnnc.frontend.convert.activation_forms import Merged
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Tracked,
    Transposed,
)
from qbnnc.ir.graph import Value


@dataclass(frozen=True, slots=True)
class Layout:
    """torch's axis `axis` is [before, batch, after], merged into one.

    A value of this layout has torch's other axes in order, and `before` and `after` in the place
    of the batch, where they are not 1. The form of a tensor with the batch in front of these axes
    is called its batch-first form.
    """

    axis: int = 0
    before: int = 1
    after: int = 1

    @property
    def merged(self) -> tuple[int, ...]:
        """The extents that are merged with the batch."""
        return tuple(n for n in (self.before, self.after) if n != 1)

    def batch_first(self, shape: Shape, batch: int | torch.SymInt) -> Shape:
        """torch's shape in the batch-first form."""
        return (batch, *shape[: self.axis], *self.merged, *shape[self.axis + 1 :])

    def place(self, axis: int) -> int:
        """The number of torch's axis in the batch-first form; it is not the batch's own."""
        return axis + 1 if axis < self.axis else axis + len(self.merged)

    def laid_out(self, tensor: Tensor) -> Tensor:
        """A tensor in the batch-first form, as torch has it."""
        rows, (lead, rest) = len(tensor), self._around(tensor)
        split = tensor.reshape(rows, *lead, self.before, self.after, *rest)
        whole = split.movedim(0, self.axis + 1)
        return whole.reshape(*lead, self.before * rows * self.after, *rest).contiguous()

    def _around(self, tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape = tuple(tensor.shape[1:])
        return shape[: self.axis], shape[self.axis + len(self.merged) :]

    def in_front(self, tensor: Tensor) -> Tensor:
        """torch's tensor in the batch-first form: the opposite of `laid_out`."""
        shape = tuple(tensor.shape)
        lead, rest = shape[: self.axis], shape[self.axis + 1 :]
        rows = shape[self.axis] // (self.before * self.after)
        split = tensor.reshape(*lead, self.before, rows, self.after, *rest)
        front = split.movedim(self.axis + 1, 0)
        return front.reshape(rows, *lead, *self.merged, *rest)


def layout_of(tracked: Tracked) -> Layout:
    """The layout of an activation; that of the batch as the first axis for all other forms."""
    match tracked:
        case Transposed(batch=batch):
            return Layout(batch)
        case Merged(axis=axis, before=before, after=after):
            return Layout(axis, before, after)
        case _:
            return Layout()


def value_of(call: Call, tracked: Tracked) -> Value:
    """The value of an activation in its batch-first form."""
    match tracked:
        case Transposed(value=value) | Merged(value=value):
            return value
        case _:
            return call.context.value(tracked, call)


def laid(value: Value, layout: Layout) -> Activation | Transposed | Merged:
    """A value in the batch-first form as the tensor that torch lays out so."""
    if layout.merged:
        return Merged(value, layout.axis, layout.before, layout.after)
    return Transposed(value, layout.axis) if layout.axis else Activation(value)


def found(rows: Tensor, count: int) -> Layout | None:
    """The layout of a tensor, from the row [i64] of each element; -1 is none, and fits any.

    `count` is the number of rows. None if no axis holds the batch.
    """
    for axis, extent in enumerate(rows.shape):
        for after in _divisors(extent // count) if extent % count == 0 else ():
            own = torch.arange(extent) // after % count
            own = own.reshape(-1, *[1] * (rows.ndim - axis - 1))
            if bool(((rows == own) | (rows < 0)).all()):
                return Layout(axis, extent // count // after, after)
    return None


def _divisors(number: int) -> Sequence[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def is_laid_out(tracked: Tracked) -> bool:
    """Whether this is an activation whose batch is not torch's first axis."""
    return isinstance(tracked, Transposed | Merged)


def is_activation(tracked: object) -> bool:
    return isinstance(tracked, AnyActivation)
