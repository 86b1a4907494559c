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
from qbnnc.ir.ops import Concat


def joined_rows(call: Call, parts: Sequence[Tracked]) -> Merged | Transposed | Tracked:
    """The parts one after another, as an axis before the batch: [parts * before, batch].

    CompileError if they are not all computed, or if an axis behind the batch is merged with it.
    """
    if not all(is_activation(each) for each in parts):
        call.fail("joins rows of the batch with constants", "every row must be predicted by itself")
    layouts = [layout_of(each) for each in parts]
    first = layouts[0]
    if any((each.axis, each.after) != (first.axis, 1) for each in layouts):
        call.fail(
            "joins tensors whose batch is merged with an axis behind it, or is another axis",
            "join them before the batch is merged, along an axis of their own",
        )
    values = []
    for each, own in zip(parts, layouts, strict=True):
        x = value_of(call, each)
        shape = (
            x.type.shape
            if own.merged
            else (*x.type.shape[: own.axis], 1, *x.type.shape[own.axis :])
        )
        values.append(reshaped(call, x, shape, "line"))
    whole = values[0] if len(values) == 1 else step(call, "joined", Concat(first.axis), *values)
    before = sum(each.before for each in layouts)
    if before == 1:
        return parts[0]
    return laid(whole, Layout(first.axis, before, 1))
