"""Ops that only move elements, of tensors whose batch is not the first axis, or leaves its place.

The op is run on the numbers of the elements, in batches of two sizes. The rows of its elements tell
the layout of the result. In the batch-first form each row must take the same elements.
"""

from __future__ import annotations

from math import prod
from typing import NoReturn, cast

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import concrete
from qbnnc.frontend.convert.layouts.layout import (
    Layout,
    found,
    is_activation,
    laid,
    layout_of,
    value_of,
)
from qbnnc.frontend.convert.layouts.scratch import given_nodes
from qbnnc.frontend.convert.ops.element_moves import Index, rearranged
from qbnnc.frontend.convert.ops.shapes import broadcast, reshaped
from qbnnc.frontend.convert.tracked import Constant, Result, Tracked
from qbnnc.ir.graph import Value

MOVES = frozenset(
    "_reshape_copy _unsafe_view chunk constant_pad_nd diagonal diagonal_copy expand expand_as "
    "expand_copy flatten flip fliplr flipud gather index index_select movedim moveaxis narrow pad "
    "permute repeat repeat_interleave reshape roll rot90 select slice split split_with_sizes "
    "squeeze swapaxes swapdims t take_along_dim tensor_split tile transpose tril triu unbind "
    "unflatten unfold unsqueeze view view_as".split()
)
_MOST_NUMBERED = 1 << 27  # elements that an op is run on to number them


def moved(call: Call) -> Result:
    """The op's result, or each of its results, in whatever layout it has."""
    name = "input" if "input" in call.arguments else "self"
    tracked = cast(Tracked, call.arguments[name])
    x, layout = value_of(call, tracked), layout_of(tracked)
    _check_size(call, x)
    runs = [_run(call, name, layout, x, rows) for rows in call.context.sizes]
    items = [_laid_out(call, x, list(parts)) for parts in zip(*runs, strict=True)]
    is_one = isinstance(call.node.meta["val"], Tensor)
    return items[0] if is_one else tuple(items)


def _check_size(call: Call, x: Value) -> None:
    meta = call.node.meta["val"]
    static = [
        prod(n for n in each.shape if isinstance(n, int))
        for each in ([meta] if isinstance(meta, Tensor) else meta)
    ]
    if max(call.context.sizes) * max(x.type.size, *static, 1) > _MOST_NUMBERED:
        call.fail(f"moves more than {_MOST_NUMBERED} elements", "make the tensor smaller")


def _run(call: Call, name: str, layout: Layout, x: Value, rows: int) -> list[Tensor]:
    """The numbers of the elements of each result, for a batch of this size; -1 is a new zero."""
    numbers = torch.arange(1, rows * x.type.size + 1, dtype=torch.float64)
    nodes = given_nodes(call)
    given = {
        key: _plain(call, value, nodes.get(key), rows) for key, value in call.arguments.items()
    }
    given[name] = layout.laid_out(numbers.reshape(rows, *x.type.shape))
    with torch.no_grad():
        try:
            result = cast(torch._ops.OpOverload, call.node.target)(**given)
        except Exception as error:  # whatever an op raises on inputs that do not fit it
            why = str(error).splitlines()[0]
            call.fail(
                f"torch cannot run it on {rows} rows of the batch ({why})",
                "write it for any number of rows",
            )
    parts = [result] if isinstance(result, Tensor) else list(result)
    return [part.to(torch.int64) - 1 for part in parts]


def _plain(call: Call, value: object, node: object, rows: int) -> object:
    match value:
        case Constant(tensor):
            return tensor
        case torch.SymInt():
            return concrete(value, rows)
        case list():
            return [_plain(call, item, None, rows) for item in value]
        case _ if is_activation(value) and isinstance(node, torch.fx.Node):
            shape = [concrete(extent, rows) for extent in node.meta["val"].shape]
            return torch.zeros(shape)  # the other tensor of expand_as tells its shape alone
        case _ if isinstance(value, Tracked):
            call.fail(
                "moves elements to places that are random or depend on the input",
                "use constant numbers, or a product with weights that tell the places",
            )
        case _:
            return value


def _laid_out(call: Call, x: Value, parts: list[Tensor]) -> Tracked:
    """The result whose numbers are `parts`, for each size of the batch."""
    size, layouts, sources = x.type.size, set[Layout | None](), list[Tensor]()
    for numbers, rows in zip(parts, call.context.sizes, strict=True):
        layout = found(torch.where(numbers < 0, -1, numbers // size), rows)
        layouts.add(layout)
        if layout is None:
            _mixed(call)
        own = layout.in_front(torch.where(numbers < 0, -1, numbers % size))
        if not bool((own == own[:1]).all()):
            _mixed(call)
        sources.append(own[0])
    layout = layouts.pop()
    if layouts or layout is None or not all(torch.equal(s, sources[0]) for s in sources):
        _mixed(call)
    return laid(_repeated(call, x, sources[0].numpy()), layout)


def _repeated(call: Call, x: Value, source: Index) -> Value:
    """The elements of x with these numbers; axes along which they repeat are added at the end."""
    same = [axis for axis in range(source.ndim) if _is_same(source, axis)]
    if not same:
        return rearranged(call, x, source)
    core: Index = source[tuple(0 if axis in same else slice(None) for axis in range(source.ndim))]
    ones = tuple(1 if axis in same else n for axis, n in enumerate(source.shape))
    y = reshaped(call, rearranged(call, x, core), ones, "axes")
    return broadcast(call, y, source.shape)


def _is_same(source: Index, axis: int) -> bool:
    return source.shape[axis] > 1 and bool((source == source.take([0], axis=axis)).all())


def _mixed(call: Call) -> NoReturn:
    call.fail(
        f"gives {list(call.node.meta['val'].shape) if _is_one(call) else 'tensors'}, where rows "
        "of the batch are mixed",
        "every row must be predicted by itself: keep the batch an axis of its own, or merged "
        "with neighbouring axes as view and reshape do it",
    )


def _is_one(call: Call) -> bool:
    return isinstance(call.node.meta["val"], Tensor)
