"""Ops on [before * batch * after, ...]: each position by itself, and the results side by side.

Networks fold time into the batch so that a convolution sees one image at a time. Weights that are
drawn are the same at all positions, as torch draws them once.
"""

from __future__ import annotations

from math import prod
from typing import cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.layouts.layout import (
    is_laid_out,
    laid,
    layout_of,
    value_of,
)
from qbnnc.frontend.convert.layouts.operands import Run
from qbnnc.frontend.convert.layouts.scratch import Given, given_nodes, made
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import Activation, Result, Tracked
from qbnnc.frontend.convert.unsupported_values import value_not_supported
from qbnnc.frontend.program.random_ops import op_name
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat, Slice, Transpose

_MOST = 64  # positions: each makes ops of its own
_BY_CHANNEL = frozenset("_native_batch_norm_legit_no_training batch_norm native_batch_norm".split())


def by_position(call: Call, run: Run) -> Result:
    """The op at each position; CompileError if the batch is not in the first axis."""
    named = [name for name, value in call.arguments.items() if is_laid_out(cast(Tracked, value))]
    tracked = cast(Tracked, call.arguments[named[0]]) if named else None
    layout = None if tracked is None else layout_of(tracked)
    meta = call.node.meta["val"]
    if tracked is None or layout is None or layout.axis or len(named) > 1:
        lists = [v for value in call.arguments.values() if isinstance(value, list) for v in value]
        value_not_supported(tracked or next(v for v in lists if is_laid_out(v)), call)
    x, lead = value_of(call, tracked), len(layout.merged)
    count, inner = layout.before * layout.after, x.type.shape[lead:]
    lines = reshaped(call, x, (count, *inner), "positions")
    name = named[0]
    if op_name(call.node) in _BY_CHANNEL:
        whole = _by_channel(call, run, name, lines)
    else:
        whole = _one_by_one(call, run, name, lines)
    whole = reshaped(call, whole, (*layout.merged, *whole.type.shape[1:]), "whole")
    found = laid(whole, layout)
    return found if isinstance(meta, Tensor) else (found,)


def _by_channel(call: Call, run: Run, name: str, lines: Value) -> Value:
    """An op that treats all elements of a channel alike, on the channels of all positions."""
    count, channels, *inner = lines.type.shape
    turned = step(call, "channels", Transpose((1, 0, *range(2, len(inner) + 2))), lines)
    flat = reshaped(call, turned, (channels, count * prod(inner)), "channels")
    y = reshaped(call, _called(call, run, name, flat), (channels, count, *inner), "positions")
    return step(call, "positions", Transpose((1, 0, *range(2, len(inner) + 2))), y)


def _one_by_one(call: Call, run: Run, name: str, lines: Value) -> Value:
    count = lines.type.shape[0]
    if count > _MOST:
        call.fail(
            f"runs on {count} images of each row, and at most {_MOST} are supported",
            "give the network fewer at once",
        )
    parts = [_called(call, run, name, _at(call, lines, number)) for number in range(count)]
    rows = [reshaped(call, each, (1, *each.type.shape), "line") for each in parts]
    return rows[0] if len(rows) == 1 else step(call, "lines", Concat(0), *rows)


def _called(call: Call, run: Run, name: str, x: Value) -> Value:
    """The op on one tensor with the batch as first axis, the argument `name`."""
    nodes, batch, meta = given_nodes(call), call.context.batch, call.node.meta["val"]
    given: dict[str, object] = {}
    for key, value in call.arguments.items():
        node = nodes.get(key)
        given[key] = Given(node, _shape(node), value) if isinstance(node, fx.Node) else value
    given[name] = Given(cast(fx.Node, nodes[name]), (batch, *x.type.shape), Activation(x))
    one = isinstance(meta, Tensor)
    shapes = [(batch, *each.shape[1:]) for each in ([meta] if one else meta)]
    if op_name(call.node) in _BY_CHANNEL:
        shapes[0] = (batch, *x.type.shape)
    target = cast(torch._ops.OpOverload, call.node.target)
    done = run(made(call, target, given, shapes[0] if one else shapes))
    result = done[0] if isinstance(done, tuple) else done
    return call.context.value(result, call)


def _shape(node: object) -> tuple[int | torch.SymInt, ...]:
    value = cast(fx.Node, node).meta["val"]
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def _at(call: Call, lines: Value, number: int) -> Value:
    if lines.type.shape[0] == 1:
        return reshaped(call, lines, lines.type.shape[1:], "position")
    taken = step(call, "position", Slice(0, number, number + 1), lines)
    return reshaped(call, taken, lines.type.shape[1:], "position")
