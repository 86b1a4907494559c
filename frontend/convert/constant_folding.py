"""Constants: made from nothing, or computed now from other constants."""

from __future__ import annotations

from math import prod
from typing import cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape, concrete
from qbnnc.frontend.convert.tracked import (
    AnyActivation,
    Blocks,
    Constant,
    Filled,
    Result,
    Tracked,
    tracked_among,
)
from qbnnc.support.errors import CompileError

_SIZES = (2, 3)  # batches to try if any is allowed
_MAX_FOLDED = 1 << 28  # elements: a hostile program could ask for any number
_TORCH_FAILS = (RuntimeError, TypeError, ValueError, IndexError)


def folded(call: Call) -> Result:
    """The result of an op on constants, computed now."""
    if not all(isinstance(extent, int) for extent in bounded_shape(call)):
        made = repeated(call) or shared_by_rows(call) or blocks(call)
        return made or call.fail(
            "makes a tensor of the batch's size from weights, whose rows differ",
            "let it broadcast instead",
        )
    target, arguments = cast(torch._ops.OpOverload, call.node.target), _plain_arguments(call)
    try:
        with torch.no_grad():
            result = target(**arguments)
    except _TORCH_FAILS as error:
        call.fail(
            f"torch cannot compute this constant: {str(error).splitlines()[0]}",
            "compute it in __init__, and register it as a buffer",
        )
    if isinstance(result, bool | int | float):
        return Constant(torch.tensor(result))
    return Constant(result) if isinstance(result, Tensor) else tuple(map(Constant, result))


def bounded_shape(call: Call) -> Shape:
    """The shape of the result; CompileError if it is larger than any model's."""
    shape = call.shape() if isinstance(call.node.meta["val"], Tensor) else ()
    if prod(extent for extent in shape if isinstance(extent, int)) > _MAX_FOLDED:
        call.fail(f"makes a constant of shape {list(shape)}", "that is more than a model may hold")
    return shape


def repeated(call: Call) -> Filled | tuple[Filled, ...] | None:
    """The result of an op on numbers that all rows repeat; None if its rows are not the same.

    Several results, such as those of chunk, are a tuple. The op is run for batches of two sizes, or
    of the program's own.
    """
    meta = call.node.meta["val"]
    shapes = [bounded_shape(call)] if isinstance(meta, Tensor) else _shapes(meta)
    if not shapes or not all(s and call.context.is_batch(s[0]) for s in shapes):
        return None
    extent = shapes[0][0]
    sizes = (extent,) if isinstance(extent, int) else _SIZES
    try:
        runs = [_common_rows(call, size) for size in sizes]
    except (CompileError, *_TORCH_FAILS):
        return None  # its rule says what is wrong
    made = list[Filled]()
    for shape, rows in zip(shapes, zip(*runs, strict=True), strict=True):
        row = rows[0]
        if row is None or not all(r is not None and _same(r, row) for r in rows):
            return None
        number = number_of(row) if row.is_floating_point() else None
        made.append(Filled(shape, None, row) if number is None else Filled(shape, number))
    return made[0] if isinstance(meta, Tensor) else tuple(made)


def _shapes(meta: object) -> list[Shape]:
    """The shapes of several results; none if one of them is no tensor."""
    parts = meta if isinstance(meta, list | tuple) else []
    shapes: list[Shape] = [tuple(each.shape) for each in parts if isinstance(each, Tensor)]
    return shapes if len(shapes) == len(parts) else []


def shared_by_rows(call: Call) -> Constant | Filled | None:
    """Constants that the batch repeats along an axis behind the first, with 1 there; or None.

    States of recurrent layers [layers, batch, hidden] are such.
    """
    shape = bounded_shape(call)
    axes = [axis for axis, extent in enumerate(shape) if not isinstance(extent, int)]
    if len(axes) != 1 or axes == [0] or not call.context.is_batch(shape[axes[0]]):
        return None
    target, found = cast(torch._ops.OpOverload, call.node.target), list[Tensor]()
    for size in _SIZES:
        arguments = _plain_arguments(call, size)
        try:
            with torch.no_grad():
                result = target(**arguments)
        except _TORCH_FAILS:
            return None  # its rule says what is wrong
        if not isinstance(result, Tensor) or result.shape[axes[0]] not in (1, size):
            return None
        found.append(result.narrow(axes[0], 0, 1))
        if not bool((result == found[-1]).all()):
            return None
    if not torch.equal(*found):
        return None
    number = number_of(found[0]) if found[0].is_floating_point() else None
    return Constant(found[0]) if number is None else Filled(shape, number)


def blocks(call: Call) -> Blocks | Constant | None:
    """Constants that merge the batch with other axes, and are the same for all its rows; or None.

    The op is run for batches of two sizes. A part of them may be as long for both.
    """
    shape = bounded_shape(call)
    axes = [axis for axis, extent in enumerate(shape) if not isinstance(extent, int)]
    if len(axes) > 1 or isinstance(call.context.batch, int):
        return None
    target = cast(torch._ops.OpOverload, call.node.target)
    try:
        with torch.no_grad():
            made = [target(**_plain_arguments(call, size)) for size in _SIZES]
    except _TORCH_FAILS:
        return None  # its rule says what is wrong
    if not axes:
        return Constant(made[0]) if torch.equal(*made) else None
    count, left = divmod(made[0].shape[axes[0]], _SIZES[0])
    if left or count < 2 or made[1].shape[axes[0]] != count * _SIZES[1]:
        return None
    for after in (n for n in range(1, count + 1) if count % n == 0):
        rows = (
            whole.unflatten(axes[0], (count // after, size, after)).select(axes[0] + 1, 0)
            for whole, size in zip(made, _SIZES, strict=True)
        )
        found = [Blocks(row, axes[0]) for row in rows]
        same = (torch.equal(b.tensor(n), w) for b, n, w in zip(found, _SIZES, made, strict=True))
        if torch.equal(found[0].row, found[1].row) and all(same):
            return found[0]
    return None


def is_known(call: Call) -> bool:
    """Whether all tensor arguments are computed from the input, or constants of all rows."""
    tracked = list(tracked_among(call.arguments))
    repeated = [each for each in tracked if isinstance(each, Filled)]
    numbers = all(each.number is not None or each.row is not None for each in repeated)
    return numbers and all(isinstance(e, AnyActivation | Constant | Filled) for e in tracked)


def _common_rows(call: Call, batch: int) -> list[Tensor | None]:
    """The row that all rows of each result are equal to, for a batch of this size."""
    arguments = _plain_arguments(call, batch)
    with torch.no_grad():
        result = cast(torch._ops.OpOverload, call.node.target)(**arguments)
    return [_common_row(each, batch) for each in _listed(result)]


def _listed(result: object) -> list[object]:
    return list(result) if isinstance(result, list | tuple) else [result]


def _common_row(result: object, batch: int) -> Tensor | None:
    if not isinstance(result, Tensor) or len(result) not in (1, batch):
        return None
    return result[0] if are_equal(result) else None


def are_equal(rows: Tensor) -> bool:
    """Whether all rows are the first one, to rounding: kernels round rows differently."""
    return _same(rows, rows[:1].expand_as(rows))


def _same(one: Tensor, other: Tensor) -> bool:
    if not one.is_floating_point():
        return torch.equal(one, other)
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-5, atol=1e-7)


def _plain_arguments(call: Call, batch: int = 0) -> dict[str, object]:
    """The arguments of a call on constants, as torch takes them, for a batch of this size."""
    schema = cast(torch._ops.OpOverload, call.node.target)._schema.arguments
    given: dict[str, object] = dict(zip((a.name for a in schema), call.node.args, strict=False))
    given.update(call.node.kwargs)
    return {name: _plain(value, batch, given.get(name)) for name, value in call.arguments.items()}


def _plain(value: object, batch: int, given: object) -> object:
    """The value of an argument; `given` is what the program has there."""
    match value:
        case Constant(tensor):
            return _typed(tensor, given)
        case Filled(shape):
            whole = value.tensor([concrete(extent, batch) for extent in shape])
            return _typed(whole.float() if whole.is_floating_point() else whole, given)
        case Blocks():
            return _typed(value.tensor(batch), given)
        case torch.SymInt():
            return concrete(value, batch)
        case list():
            each = given if isinstance(given, list | tuple) else [None] * len(value)
            return [_plain(item, batch, one) for item, one in zip(value, each, strict=True)]
        case _:
            return value


def _typed(tensor: Tensor, given: object) -> Tensor:
    """The tensor in the program's type of whole numbers or booleans: rules compute in floats."""
    dtype = given.meta["val"].dtype if isinstance(given, fx.Node) else tensor.dtype
    return tensor if dtype.is_floating_point or dtype.is_complex else tensor.to(dtype)


def zeros(call: Call) -> Tracked:
    """Zeros; also a tensor that is set to zeros in place."""
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
    dtype = call.node.meta["val"].dtype
    whole = not dtype.is_floating_point and not dtype.is_complex
    return Constant(torch.full(static, number, dtype=dtype if whole else torch.float32))


MAKING_RULES: Rules = {
    **dict.fromkeys("zero zero_ zeros zeros_like new_zeros".split(), zeros),
    **dict.fromkeys("ones ones_like new_ones".split(), ones),
    **dict.fromkeys("full full_like new_full".split(), full),
    **dict.fromkeys("empty empty_like new_empty empty_permuted".split(), empty),
}
