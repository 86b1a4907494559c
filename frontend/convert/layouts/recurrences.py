"""Recurrent layers over several sequences of each row: [T, before * batch * after, F].

The sequences of a row run side by side: one step computes all of them, as values [..., F].
"""

from __future__ import annotations

from typing import cast

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.layouts.layout import (
    Layout,
    is_activation,
    laid,
    layout_of,
    value_of,
)
from qbnnc.frontend.convert.layouts.operands import Run
from qbnnc.frontend.convert.ops.shapes import step
from qbnnc.frontend.convert.tracked import Result, Tracked, Transposed
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Transpose

LAYERS = frozenset("gru lstm rnn_relu rnn_tanh".split())


def recurrent(call: Call, run: Run) -> Result:
    """The layer with time as first axis and the sequences behind it, and its results laid out.

    The states that it starts from are constants, or hold the batch as the input does.
    """
    first, tracked = call.flag("batch_first"), cast(Tracked, call.arguments["input"])
    layout, x = layout_of(tracked), value_of(call, tracked)
    if layout.axis != (0 if first else 1):
        call.fail(
            f"takes axis {1 if first else 0} of its input for time, and axis {layout.axis} holds "
            "the batch",
            "give it [batch * sequences, T, features] and say batch_first=True",
        )
    lead = len(layout.merged)
    if first and lead:
        x = step(call, "steps", Transpose((lead, *range(lead), lead + 1)), x)
    own, states = Layout(1, layout.before, layout.after), call.arguments["hx"]
    given = {**call.arguments, "input": Transposed(x, 1), "batch_first": False}
    given["hx"] = (
        [_state(call, each, own) for each in states]
        if isinstance(states, list)
        else _state(call, cast(Tracked, states), own)
    )
    made = run(Call(call.node, given, call.context))
    assert isinstance(made, tuple)
    output, *last = (value_of(call, each) for each in made)
    whole = laid(_batch_in_front(call, output, lead) if first else output, layout)
    return (whole, *(laid(each, own) for each in last))


def _batch_in_front(call: Call, x: Value, lead: int) -> Value:
    """[T, ..., H] with `lead` axes in the middle as [..., T, H]."""
    if not lead:
        return x
    return step(call, "sequences", Transpose((*range(1, lead + 1), 0, lead + 1)), x)


def _state(call: Call, tracked: Tracked, own: Layout) -> Tracked:
    """A first state [layers, ..., H], whose batch is axis 1 here."""
    if not is_activation(tracked):
        return tracked
    if layout_of(tracked) != own:
        call.fail(
            "starts from states whose axis 1 does not hold the batch as its input does",
            "compute the states from the input with [layers, batch * sequences, hidden] as axes",
        )
    return Transposed(value_of(call, tracked), 1)
