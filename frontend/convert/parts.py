"""Activations taken apart and put together: slices, splits, concatenation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.shapes import reshaped
from qbnnc.frontend.convert.values import Row, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat, Slice


def slice_(call: Call) -> Row:
    x, axis = call.row("self"), _axis(call, "self")
    if axis == 0:
        if call.arguments["start"] not in (None, 0) or call.shape() != _shape_of(call):
            call.fail("takes some rows of the batch only; every row must be predicted")
        return Row(x)
    extent = x.type.shape[axis - 1]
    start, stop = _bound(call, "start", 0, extent), _bound(call, "end", extent, extent)
    return Row(_part(call, x, axis, start, stop, call.integer("step")))


def narrow(call: Call) -> Row:
    x, axis, start = call.row("self"), _inner_axis(call), call.integer("start")
    start %= x.type.shape[axis - 1]
    return Row(_part(call, x, axis, start, start + call.integer("length")))


def select(call: Call) -> Row:
    """x[:, index], without the axis."""
    x, axis, index = call.row("self"), _inner_axis(call), call.integer("index")
    index %= x.type.shape[axis - 1]
    return Row(reshaped(call, _part(call, x, axis, index, index + 1), call.row_shape(), "flat"))


def split(call: Call) -> tuple[Tracked, ...]:
    """split, chunk, tensor_split: torch's own shapes of the parts say where the cuts are."""
    x, axis = call.row("self"), _inner_axis(call)
    count = len(cast("Sequence[object]", call.node.meta["val"]))
    parts, start = list[Tracked](), 0
    for number in range(count):
        stop = start + int(call.shape(number)[axis])
        parts.append(Row(_part(call, x, axis, start, stop)))
        start = stop
    return tuple(parts)


def unbind(call: Call) -> tuple[Tracked, ...]:
    x, axis = call.row("self"), _inner_axis(call)
    shape = (*x.type.shape[: axis - 1], *x.type.shape[axis:])
    return tuple(
        Row(reshaped(call, _part(call, x, axis, i, i + 1), shape, "flat"))
        for i in range(x.type.shape[axis - 1])
    )


def cat(call: Call) -> Row:
    tensors = cast("Sequence[Tracked]", call.arguments["tensors"])
    parts = [call.scope.value(each, call) for each in tensors]
    axis = call.integer("dim") % (len(parts[0].type.shape) + 1)
    if axis == 0:
        call.fail("joins along the batch; every row must be predicted by itself")
    return Row(parts[0] if len(parts) == 1 else call.emit(Concat(axis - 1), *parts))


def stack(call: Call) -> Row:
    """Along a new axis."""
    tensors = cast("Sequence[Tracked]", call.arguments["tensors"])
    parts = [call.scope.value(each, call) for each in tensors]
    shape = call.row_shape()
    axis = call.integer("dim") % (len(shape) + 1)
    if axis == 0:
        call.fail("makes a new first axis; the batch must stay the first")
    single = (*shape[: axis - 1], 1, *shape[axis:])
    return Row(call.emit(Concat(axis - 1), *(reshaped(call, p, single, "part") for p in parts)))


def _part(call: Call, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """x itself where nothing is left out. `axis` counts the batch."""
    if (start, step) == (0, 1) and stop >= x.type.shape[axis - 1]:
        return x
    return call.emit(Slice(axis - 1, start, stop, step), x)


def _axis(call: Call, name: str) -> int:
    return call.integer("dim") % (len(call.row(name).type.shape) + 1)


def _inner_axis(call: Call) -> int:
    axis = _axis(call, "self")
    if axis == 0:
        call.fail("takes the batch apart; every row must be predicted by itself")
    return axis


def _bound(call: Call, name: str, default: int, extent: int) -> int:
    value = call.arguments[name]
    if value is None:
        return default
    index = call.integer(name)
    return min(max(index + extent if index < 0 else index, 0), extent)


def _shape_of(call: Call) -> tuple[object, ...]:
    return tuple(call.node.all_input_nodes[0].meta["val"].shape)


RULES: Rules = {
    "cat": cat,
    "chunk": split,
    "concat": cat,
    "concatenate": cat,
    "narrow": narrow,
    "select": select,
    "slice": slice_,
    "split": split,
    "split_with_sizes": split,
    "stack": stack,
    "tensor_split": split,
    "unbind": unbind,
}
