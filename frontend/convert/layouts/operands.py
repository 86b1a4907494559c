"""Operands of an op that pairs tensors element by element, in the batch-first form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch import fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape
from qbnnc.frontend.convert.layouts.layout import Layout, is_activation, layout_of, value_of
from qbnnc.frontend.convert.layouts.scratch import Given, made
from qbnnc.frontend.convert.ops.shapes import reshaped
from qbnnc.frontend.convert.tracked import Activation, Blocks, Constant, Result, Tracked

Run: TypeAlias = Callable[[Call], Result]


def paired(call: Call, run: Run, node: fx.Node, tracked: object, to: Layout, rank: int) -> Given:
    """One of the tensors that broadcast to a result of this layout and rank, batch-first."""
    shape = tuple(node.meta["val"].shape)
    missing = rank - len(shape)
    if is_activation(tracked):
        return _activation(call, node, cast(Tracked, tracked), to, missing)
    if isinstance(tracked, Blocks):
        return _blocks(call, node, tracked, to, missing)
    if len(shape) < rank - to.axis:  # all its axes are behind the batch
        return Given(node, shape, tracked)
    axis = to.axis - missing
    return _turned(call, run, Given(node, shape, tracked), axis, to, missing)


def _activation(call: Call, node: fx.Node, tracked: Tracked, to: Layout, missing: int) -> Given:
    _check_layout(call, layout_of(tracked), to, missing)
    x = value_of(call, tracked)
    x = reshaped(call, x, (*[1] * missing, *x.type.shape), "axes")
    return Given(node, (call.context.batch, *x.type.shape), Activation(x))


def _blocks(call: Call, node: fx.Node, tracked: Blocks, to: Layout, missing: int) -> Given:
    """The row that they repeat, in the batch-first form."""
    shape, axis = tuple(tracked.row.shape), tracked.axis
    own = Layout(axis, *shape[axis : axis + 2])
    _check_layout(call, own, to, missing)
    row = (1, *[1] * missing, *shape[:axis], *own.merged, *shape[axis + 2 :])
    return Given(node, row, Constant(tracked.row.reshape(row)))


def _check_layout(call: Call, own: Layout, to: Layout, missing: int) -> None:
    if own.axis + missing != to.axis or (own.before, own.after) != (to.before, to.after):
        call.fail(
            f"combines tensors with the batch as axis {own.axis + missing} and as axis {to.axis}"
            if own.axis + missing != to.axis
            else "combines tensors that merge the batch with other axes in different ways",
            "bring both to one order of axes before",
        )


def _turned(call: Call, run: Run, given: Given, axis: int, to: Layout, missing: int) -> Given:
    """A tensor that is no activation, whose axis `axis` meets the batch, with it in front."""
    shape, extent = given.shape, given.shape[axis]
    ones = isinstance(extent, int) and extent == 1
    rows: int | torch.SymInt = 1 if ones else call.context.batch
    lead, rest = shape[:axis], shape[axis + 1 :]
    parts: Shape = (1, 1) if ones else (to.before, to.after)
    split = (*lead, parts[0], rows, parts[1], *rest)
    given = _viewed(call, run, given, split)
    order = [axis + 1, *(other for other in range(len(split)) if other != axis + 1)]
    target = torch.ops.aten.permute.default
    turned = tuple(split[each] for each in order)
    given = _run(call, run, target, given, {"dims": order}, turned)
    merged = (1,) * len(to.merged) if ones else to.merged
    return _viewed(call, run, given, (rows, *[1] * missing, *lead, *merged, *rest))


def _viewed(call: Call, run: Run, given: Given, shape: Shape) -> Given:
    return _run(call, run, torch.ops.aten.view.default, given, {"size": list(shape)}, shape)


def _run(
    call: Call,
    run: Run,
    target: torch._ops.OpOverload,
    given: Given,
    arguments: dict[str, object],
    shape: Shape,
) -> Given:
    inner = made(call, target, {"self": given, **arguments}, shape)
    inner.node.meta["val"] = given.node.meta["val"].new_empty(list(shape))
    return Given(inner.node, shape, run(inner))
