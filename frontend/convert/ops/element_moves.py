"""Ops that only move elements, under any name: they are run on the numbers of the elements.

The op runs on the numbers of x's elements, in two rows. The result tells the origin of each of its
elements, and whether rows are mixed. If the axes move independently of each other, the op becomes
slices, pads and gathers along single axes. Otherwise it becomes one gather of the flattened row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from math import prod
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import Activation, Constant
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Gather, Pad, Slice, Transpose

Index = NDArray[np.int64]
_MOST_MOVED = 1 << 20  # elements of a row that are moved one by one
_MOST_NUMBERED = 1 << 27  # elements that an op is run on to number them
_MOST_ORDERED = 5  # axes: all their orders are tried


def moved(call: Call) -> Activation:
    """The op applied to its one tensor that is computed from the input."""
    name = "input" if "input" in call.arguments else "self"
    x = call.row(name)
    return Activation(rearranged(call, x, _source(call, x, name)))


def _source(call: Call, x: Value, name: str) -> Index:
    """The number of the element of x that each element of the result is; -1 is a new zero."""
    wanted, rows, size = call.row_shape(), call.context.rows, x.type.size
    if rows * max(size, prod(wanted)) > _MOST_NUMBERED:
        call.fail(f"moves more than {_MOST_NUMBERED} elements", "make the tensor smaller")
    numbers = torch.arange(1, rows * size + 1, dtype=torch.float64)
    others = {key: value for key, value in call.arguments.items() if key != name}
    given: dict[str, object] = {key: _plain(call, value) for key, value in others.items()}
    given[name] = numbers.reshape(rows, *x.type.shape)
    with torch.no_grad():
        try:
            result = cast(torch._ops.OpOverload, call.node.target)(**given)
        except Exception as error:  # whatever an op raises on inputs that do not fit it
            call.fail(f"torch cannot run it on one row at a time ({str(error).splitlines()[0]})")
    flat = result.reshape(rows, -1).to(torch.int64).numpy()
    own = np.where(flat == 0, 0, flat - size * np.arange(rows)[:, None])
    if own.shape[1] != prod(wanted) or (own != own[0]).any() or own.min() < 0 or own.max() > size:
        call.fail(
            "moves elements between the rows of the batch (axis 0)",
            "every row must be predicted by itself, so move them along the other axes only",
        )
    return cast(Index, own[0].reshape(wanted) - 1)


def _plain(call: Call, value: object) -> object:
    match value:
        case Constant(tensor):
            return tensor
        case list():
            return [_plain(call, item) for item in value]
        case torch.SymInt() if call.context.is_batch(value):
            return call.context.rows
        case torch.SymInt():
            call.fail(f"takes a size {value} that depends on the batch")
        case Tensor() | None | bool() | int() | float() | str():
            return value
        case torch.dtype() | torch.device() | torch.layout():
            return value
        case _:
            call.fail(
                "moves elements to places that are random or depend on the input",
                "use constant numbers; to take one of several, multiply by a mask and sum: "
                "(y * (places == last)).sum(1)",
            )


def rearranged(call: Call, x: Value, source: Index) -> Value:
    """The value that consists of the elements of x with these numbers; -1 is a new zero."""
    shape = x.type.shape
    if source.size == x.type.size and (source.reshape(-1) == np.arange(source.size)).all():
        return reshaped(call, x, source.shape)
    if source.ndim == len(shape) <= _MOST_ORDERED:
        for order in permutations(range(source.ndim)):
            along = _along_axes(source.transpose(order), shape)
            if along is not None:
                return _turned(call, _along(call, x, along), order)
    return _one_by_one(call, x, source)


def _along_axes(source: Index, shape: tuple[int, ...]) -> list[Index] | None:
    """The index along each axis, if the axes move independently of each other."""
    inside = source >= 0
    if not inside.any():
        return None
    places = np.unravel_index(np.where(inside, source, 0), shape)
    along = list[Index]()
    for axis, place in enumerate(places):
        lines = np.moveaxis(np.where(inside, place, -1), axis, 0).reshape(source.shape[axis], -1)
        along.append(lines.max(axis=1))
    grids = np.meshgrid(*along, indexing="ij")
    new = np.logical_or.reduce([grid < 0 for grid in grids])
    whole = np.ravel_multi_index([np.maximum(grid, 0) for grid in grids], shape)
    return along if (np.where(new, -1, whole) == source).all() else None


def _along(call: Call, x: Value, along: Sequence[Index]) -> Value:
    """Index each axis by itself, those that grow last."""
    for axis in sorted(range(len(along)), key=lambda a: len(along[a]) / x.type.shape[a]):
        x = taken(call, x, axis, along[axis])
    return x


def taken(call: Call, x: Value, axis: int, index: Index) -> Value:
    """x[.., index, ..] along an axis of the shape; -1 at either end is a new zero."""
    old = np.flatnonzero(index >= 0)
    first, end = old[0], old[-1] + 1
    inner = index[first:end]
    if (inner < 0).any():
        return _with_zeros(call, x, axis, index)
    x = _without_zeros(call, x, axis, inner)
    before, after = int(first), len(index) - int(end)
    return _padded(call, x, axis, before, after) if before or after else x


def _without_zeros(call: Call, x: Value, axis: int, index: Index) -> Value:
    steps = np.diff(index)
    if len(index) == x.type.shape[axis] and (steps == 1).all():
        return x
    if (steps >= 1).all() and (steps == steps[:1]).all():
        stride = int(steps[0]) if len(steps) else 1
        cut = Slice(axis, int(index[0]), int(index[-1]) + 1, stride)
        return step(call, "part", cut, x)
    return step(call, "taken", Gather(axis, tuple(int(i) for i in index)), x)


def _with_zeros(call: Call, x: Value, axis: int, index: Index) -> Value:
    """Put one zero behind the elements, and take it for each zero between elements."""
    count = x.type.shape[axis]
    x = _padded(call, x, axis, 0, 1)
    return _without_zeros(call, x, axis, np.where(index < 0, count, index))


def _padded(call: Call, x: Value, axis: int, before: int, after: int) -> Value:
    shape = x.type.shape
    grown = (*shape[:axis], before + shape[axis] + after, *shape[axis + 1 :])
    if axis >= len(shape) - 2 >= 0:
        rows = axis == len(shape) - 2
        widths = (before, 0, after, 0) if rows else (0, before, 0, after)
        return step(call, "padded", Pad(widths), x)
    image = reshaped(call, x, (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])), "lines")
    return reshaped(call, step(call, "padded", Pad((before, 0, after, 0)), image), grown, "whole")


def _turned(call: Call, x: Value, order: Sequence[int]) -> Value:
    """Transpose x so that its axis i becomes axis order[i]."""
    if list(order) == sorted(order):
        return x
    return call.emit(Transpose(tuple(int(i) for i in np.argsort(order))), x)


def _one_by_one(call: Call, x: Value, source: Index) -> Value:
    if source.size > _MOST_MOVED:
        call.fail(
            f"moves {source.size} elements one by one",
            f"only {_MOST_MOVED} are supported where the axes do not move independently of "
            "each other",
        )
    flat = reshaped(call, x, (x.type.size,), "flat")
    moved = taken(call, flat, 0, source.reshape(-1))
    return reshaped(call, moved, source.shape)


RULES: Rules = dict.fromkeys(
    "_pad_circular diagonal diagonal_copy expand_copy flip fliplr flipud gather im2col index "
    "index_select reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave "
    "replication_pad1d replication_pad2d replication_pad3d roll rot90 take_along_dim tile tril "
    "triu unfold unfold_copy".split(),
    moved,
)
