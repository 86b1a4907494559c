"""Slices, splits and concatenation of activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn, cast

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops import joined_constants
from qbnnc.frontend.convert.ops.shapes import placed, reshaped, step, turned
from qbnnc.frontend.convert.tracked import Activation, Filled, Tracked, Transposed
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat, Reshape, Slice


def slice_(call: Call) -> Tracked:
    if isinstance(filled := call.tracked("self"), Filled) and filled.row is None:
        return replace(filled, shape=call.shape())
    if isinstance(seen := call.tracked("self"), Transposed):
        return _slice_behind(call, seen)
    x, axis = call.row("self"), _axis(call, "self")
    if axis == 0:
        if call.arguments["start"] not in (None, 0) or call.shape() != _shape_of(call):
            call.fail("takes some rows of the batch only", "every row must be predicted")
        return Activation(x)
    extent = x.type.shape[axis - 1]
    start, stop = bound(call, "start", 0, extent), bound(call, "end", extent, extent)
    return Activation(part(call, x, axis, start, stop, call.integer("step")))


def _slice_behind(call: Call, x: Transposed) -> Tracked:
    """A slice of a tensor whose rows of the batch are not the first axis."""
    axis = call.integer("dim") % (len(x.value.type.shape) + 1)
    if axis == x.batch:
        if call.shape() != _shape_of(call):
            _not_apart(call)
        return x
    inner = axis - (axis > x.batch)
    extent = x.value.type.shape[inner]
    start, stop = bound(call, "start", 0, extent), bound(call, "end", extent, extent)
    return Transposed(part(call, x.value, inner + 1, start, stop, call.integer("step")), x.batch)


def narrow(call: Call) -> Activation:
    x, axis, start = call.row("self"), _inner_axis(call), call.integer("start")
    start %= x.type.shape[axis - 1]
    return Activation(part(call, x, axis, start, start + call.integer("length")))


def select(call: Call) -> Tracked:
    """x[:, index]; the axis vanishes."""
    x, batch = turned(call)
    axis, index = call.integer("dim") % (len(x.type.shape) + 1), call.integer("index")
    if axis == batch:
        _not_apart(call)
    inner = axis - (axis > batch)
    return _selected(call, x, inner, index % x.type.shape[inner], batch - (axis < batch))


def _selected(call: Call, x: Value, axis: int, index: int, batch: int) -> Tracked:
    """One element along an axis of the shape; the axis vanishes."""
    if axis == 0 and (steps := call.context.steps_of(x)) is not None:
        return placed(call, steps[index], batch)
    shape = (*x.type.shape[:axis], *x.type.shape[axis + 1 :])
    taken = part(call, x, axis + 1, index, index + 1)
    return placed(call, reshaped(call, taken, shape, "flat"), batch)


def split(call: Call) -> tuple[Tracked, ...]:
    """split, chunk, tensor_split; torch's own shapes of the parts tell the cuts."""
    x, axis = call.row("self"), _inner_axis(call)
    count = len(cast("Sequence[object]", call.node.meta["val"]))
    parts, start = list[Tracked](), 0
    for number in range(count):
        stop = start + int(call.shape(number)[axis])
        parts.append(Activation(part(call, x, axis, start, stop)))
        start = stop
    return tuple(parts)


def unbind(call: Call) -> tuple[Tracked, ...]:
    x, batch = turned(call)
    axis = call.integer("dim") % (len(x.type.shape) + 1)
    if axis == batch:
        _not_apart(call)
    inner = axis - (axis > batch)
    count = x.type.shape[inner]
    return tuple(_selected(call, x, inner, i, batch - (axis < batch)) for i in range(count))


def cat(call: Call) -> Tracked:
    given = cast("Sequence[Tracked]", call.arguments["tensors"])
    behind = [each for each in given if isinstance(each, Transposed)]
    if len(behind) == len(given) and len({each.batch for each in behind}) == 1:
        return _joined_behind(call, behind)
    axis = call.integer("dim") % len(call.shape())
    given = [joined_constants.known(call, each) for each in given] if axis else given
    if joined_constants.holds_constants(given):
        return joined_constants.joined(call, given, axis - 1) if axis else _along_batch(call)
    return _joined(call, _parts(call), axis)


def _joined_behind(call: Call, parts: Sequence[Transposed]) -> Tracked:
    """Concatenation of tensors whose rows of the batch are not the first axis."""
    batch, values = parts[0].batch, [each.value for each in parts]
    axis = call.integer("dim") % (len(values[0].type.shape) + 1)
    if axis == batch:
        _along_batch(call)
    inner = axis - (axis > batch)
    return Transposed(call.emit(Concat(inner), *values), batch)


def side_by_side(call: Call) -> Activation:
    """hstack, column_stack: concatenation along axis 1, which is added if there is none."""
    parts = [reshaped(call, p, p.type.shape or (1,), "column") for p in _parts(call)]
    return _joined(call, parts, 1)


def deep(call: Call) -> Activation:
    """dstack: concatenation along axis 2."""
    whole = call.row_shape()
    inner = (reshaped(call, p, (*p.type.shape, 1)[: len(whole)], "deep") for p in _parts(call))
    return _joined(call, list(inner), 2)


def _parts(call: Call) -> list[Value]:
    tensors = cast("Sequence[Tracked]", call.arguments["tensors"])
    return [call.context.value(each, call) for each in tensors]


def _joined(call: Call, parts: list[Value], axis: int) -> Activation:
    if axis == 0:
        _along_batch(call)
    return Activation(parts[0] if len(parts) == 1 else call.emit(Concat(axis - 1), *parts))


def stack(call: Call) -> Tracked:
    """Concatenation along a new axis, which may be in front of the batch."""
    parts = _parts(call)
    shape = parts[0].type.shape
    axis = call.integer("dim") % (len(shape) + 2)
    inner = max(axis - 1, 0)
    single = (*shape[:inner], 1, *shape[inner:])
    whole = call.emit(Concat(inner), *(reshaped(call, p, single, "part") for p in parts))
    return placed(call, whole, 1 if axis == 0 else 0)


def along_first(call: Call, name: str, steps: Sequence[Value]) -> Value:
    """Values of one shape as one with a new first axis, which remembers them."""
    shape = steps[0].type.shape
    joined = steps[0] if len(steps) == 1 else step(call, name, Concat(0), *steps)
    whole = step(call, name, Reshape((len(steps), *shape)), joined)
    call.context.keep_steps(whole, steps)
    return whole


def part(call: Call, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
    """A slice of x, or x itself if it is the whole; `axis` counts the batch."""
    if (start, step) == (0, 1) and stop >= x.type.shape[axis - 1]:
        return x
    return call.emit(Slice(axis - 1, start, stop, step), x)


def _axis(call: Call, name: str) -> int:
    return call.integer("dim") % (len(call.row(name).type.shape) + 1)


def _inner_axis(call: Call) -> int:
    axis = _axis(call, "self")
    return _not_apart(call) if axis == 0 else axis


def _not_apart(call: Call) -> NoReturn:
    call.fail("takes the batch apart", "every row must be predicted by itself")


def _along_batch(call: Call) -> NoReturn:
    call.fail("joins along the batch", "every row must be predicted by itself")


def bound(call: Call, name: str, default: int, extent: int) -> int:
    """The place that a slice begins or ends at, as an argument gives it."""
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
    "column_stack": side_by_side,
    "concat": cat,
    "concatenate": cat,
    "dstack": deep,
    "hstack": side_by_side,
    "narrow": narrow,
    "select": select,
    "slice": slice_,
    "split": split,
    "split_with_sizes": split,
    "stack": stack,
    "tensor_split": split,
    "unbind": unbind,
}
