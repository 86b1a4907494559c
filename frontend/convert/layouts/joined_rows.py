"""Concatenation along the axis that holds the batch: torch.cat(q.split(width, 2), 0) of heads."""

from __future__ import annotations

from collections.abc import Sequence

from qbnnc.frontend.convert.activation_forms import Merged
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.layouts.layout import (
    Layout,
    is_activation,
    laid,
    layout_of,
    value_of,
)
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import Tracked, Transposed
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat


def joined_rows(call: Call, parts: Sequence[Tracked]) -> Merged | Transposed | Tracked:
    """The parts one after another, as an axis before the batch: [parts * before, batch].

    CompileError if they are not all computed, or if the batch is another axis in some.
    """
    if not all(is_activation(each) for each in parts):
        call.fail("joins rows of the batch with constants", "every row must be predicted by itself")
    layouts = [layout_of(each) for each in parts]
    if len({(each.axis, each.after) for each in layouts}) > 1:
        call.fail(
            "joins tensors whose batch is merged with different axes, or is another axis",
            "join them before the batch is merged, along an axis of their own",
        )
    axis, after = layouts[0].axis, layouts[0].after
    before = sum(each.before for each in layouts)
    if before == 1:
        return parts[0]
    blocks = [_in_blocks(call, *pair) for pair in zip(parts, layouts, strict=True)]
    whole = blocks[0] if len(blocks) == 1 else step(call, "joined", Concat(axis), *blocks)
    to, shape = Layout(axis, before, after), whole.type.shape
    merged = (*shape[:axis], *to.merged, *shape[axis + 2 :])
    return laid(reshaped(call, whole, merged, "merged"), to)


def _in_blocks(call: Call, tracked: Tracked, own: Layout) -> Value:
    """The batch-first form with both of the axes that the batch may be merged with."""
    x = value_of(call, tracked)
    lead, rest = x.type.shape[: own.axis], x.type.shape[own.axis + len(own.merged) :]
    return reshaped(call, x, (*lead, own.before, own.after, *rest), "parts")
