"""Writes into parts of a tensor: y[:, 1:] = v, and buffers that are filled step by step.

A tensor that was written to is kept as its parts along one axis. They are joined when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import cast

import torch

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Shape
from qbnnc.frontend.convert.ops import joined_constants, split_and_concat
from qbnnc.frontend.convert.ops.shapes import broadcast, reshaped
from qbnnc.frontend.convert.tracked import Activation, Constant, Filled, Tracked, Written
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat

_Parts = list[tuple[Tracked, int]]


def copy(call: Call) -> Tracked:
    """What is written to a place, in the shape of the place."""
    shape, source = call.shape(), call.tracked("src")
    row = call.row_shape()
    match source:
        case Filled() as filled:
            return replace(filled, shape=shape)
        case Constant(tensor) if tensor.ndim <= len(row) or len(tensor) == 1:
            whole = tensor.expand(1, *row)[0]
            number = number_of(whole)
            return Filled(shape, number, whole if number is None else None)
        case _:
            value = call.context.value(source, call)
            ones = (1,) * (len(row) - len(value.type.shape))
            return Activation(broadcast(call, reshaped(call, value, ones + value.type.shape), row))


def fill(call: Call) -> Filled:
    """One number in the shape of a place."""
    return Filled(call.shape(), call.number("value"))


def slice_scatter(call: Call) -> Tracked:
    """y with `src` in the place of y[..., start:end:step]."""
    shape = call.shape()
    axis = call.integer("dim") % len(shape)
    source = call.tracked("src")
    if axis == 0:
        whole = call.arguments["start"] in (None, 0) and call.integer("step") == 1
        if not whole or _rows(call, "src") != shape[0]:
            call.fail("writes to some rows of the batch only", "write to all rows alike")
        return source
    extent = int(shape[axis])
    start = split_and_concat.bound(call, "start", 0, extent)
    stop = split_and_concat.bound(call, "end", extent, extent)
    return _written(call, axis, range(start, stop, call.integer("step")), source)


def select_scatter(call: Call) -> Tracked:
    """y with `src` in the place of y[..., index], an axis of which is left out."""
    shape = call.shape()
    axis = call.integer("dim") % len(shape)
    if axis == 0:
        call.fail("writes to one row of the batch", "write to all rows alike")
    index = call.integer("index") % int(shape[axis])
    single = (*shape[:axis], 1, *shape[axis + 1 :])
    source = call.tracked("src")
    if isinstance(source, Filled):
        row = source.row
        if row is not None:
            row = row.expand([int(n) for n in (*shape[1:axis], *shape[axis + 1 :])])
            row = row.unsqueeze(axis - 1)
        source = Filled(single, source.number, row)
    else:
        value = call.context.value(source, call)
        source = Activation(reshaped(call, value, tuple(int(n) for n in single[1:]), "place"))
    return _written(call, axis, range(index, index + 1), source)


def slice_(call: Call) -> Tracked:
    """A slice, which stays in parts where its tensor is in parts."""
    x = call.tracked("self")
    if not isinstance(x, Written) or call.integer("step") != 1:
        return split_and_concat.slice_(call)
    axis = call.integer("dim") % len(x.shape)
    if axis == 0:
        return split_and_concat.slice_(call)
    extent = int(x.shape[axis])
    start = split_and_concat.bound(call, "start", 0, extent)
    stop = split_and_concat.bound(call, "end", extent, extent)
    return cut(call, x, x.shape, axis, start, stop)


def select(call: Call) -> Tracked:
    """One element along an axis, from the part of the tensor that holds it."""
    x = call.tracked("self")
    if not isinstance(x, Filled | Written):
        return split_and_concat.select(call)
    axis = call.integer("dim") % len(x.shape)
    if axis == 0:
        return split_and_concat.select(call)
    index = call.integer("index") % int(x.shape[axis])
    one = cut(call, x, x.shape, axis, index, index + 1)
    if isinstance(one, Filled):
        row = one.row
        return Filled(call.shape(), one.number, None if row is None else row.squeeze(axis - 1))
    return Activation(reshaped(call, call.context.value(one, call), call.row_shape(), "flat"))


def cut(call: Call, x: Tracked, shape: Shape, axis: int, start: int, stop: int) -> Tracked:
    """x[..., start:stop] along an axis, not the batch's, of a tensor of this shape."""
    if (start, stop) == (0, shape[axis]):
        return x
    match x:
        case Filled(_, number, row):
            if row is not None:
                row = row.expand([int(n) for n in shape[1:]]).narrow(axis - 1, start, stop - start)
            return Filled(_with(shape, axis, stop - start), number, row)
        case Written(axis=own) if own == axis:
            return _joined_later(
                call, _with(shape, axis, stop - start), axis, [*_between(call, x, start, stop)]
            )
        case Written(parts=parts, axis=own):
            cuts = [
                (cut(call, each, _with(shape, own, extent), axis, start, stop), extent)
                for each, extent in parts
            ]
            return _joined_later(call, _with(shape, axis, stop - start), own, cuts)
        case _:
            value = call.context.value(x, call)
            return Activation(split_and_concat.part(call, value, axis, start, stop))


def _written(call: Call, axis: int, places: range, source: Tracked) -> Tracked:
    """The call's tensor with the `places` along an axis taken from `source`, in order."""
    shape, base = call.shape(), call.tracked("self")
    if len(places) == 0:
        return base
    parts, end = _Parts(), 0
    source_shape = _with(shape, axis, len(places))
    for number, (start, stop) in enumerate(_runs(places)):
        if end < start:
            parts.append((cut(call, base, shape, axis, end, start), start - end))
        first = number * (stop - start)
        run = cut(call, source, source_shape, axis, first, first + stop - start)
        parts.append((run, stop - start))
        end = stop
    extent = int(shape[axis])
    if end < extent:
        parts.append((cut(call, base, shape, axis, end, extent), extent - end))
    return _joined_later(call, shape, axis, parts)


def _runs(places: range) -> Iterator[tuple[int, int]]:
    """The runs of neighbours among places: all of them, or each by itself."""
    if places.step == 1:
        yield places.start, places.stop
    else:
        yield from ((place, place + 1) for place in places)


def _between(call: Call, x: Written, start: int, stop: int) -> Iterator[tuple[Tracked, int]]:
    """The parts of a written tensor from `start` to `stop` along its axis."""
    begin = 0
    for each, extent in x.parts:
        first, last = max(start, begin), min(stop, begin + extent)
        if first < last:
            shape = _with(x.shape, x.axis, extent)
            yield cut(call, each, shape, x.axis, first - begin, last - begin), last - first
        begin += extent


def _joined_later(call: Call, shape: Shape, axis: int, parts: _Parts) -> Tracked:
    """Parts along an axis as one tensor: numbers at once, activations when they are read."""
    parts = [*_flat(axis, parts)]
    each = [part for part, _ in parts]
    if len(each) == 1:
        return each[0]
    if all(isinstance(part, Filled) for part in each):
        return _numbers(shape, axis, parts)
    return Written(shape, axis, tuple(parts), lambda: _join(call, each, axis))


def _flat(axis: int, parts: _Parts) -> Iterator[tuple[Tracked, int]]:
    """The parts, with those of parts along the same axis in their places."""
    for each, extent in parts:
        if isinstance(each, Written) and each.axis == axis:
            yield from each.parts
        else:
            yield each, extent


def _numbers(shape: Shape, axis: int, parts: _Parts) -> Filled:
    rows = list[torch.Tensor]()
    for part, extent in parts:
        static = [int(n) for n in _with(shape, axis, extent)[1:]]
        rows.append(cast(Filled, part).tensor(static).to(torch.float64))
    row = torch.cat(rows, axis - 1)
    number = number_of(row)
    return Filled(shape, number, row if number is None else None)


def _join(call: Call, parts: Sequence[Tracked], axis: int) -> Value:
    read = [p if isinstance(p, Filled) else Activation(call.context.value(p, call)) for p in parts]
    if joined_constants.holds_constants(read):
        return joined_constants.joined(call, read, axis - 1).value
    return call.emit(Concat(axis - 1), *(call.context.value(part, call) for part in read))


def _with(shape: Shape, axis: int, extent: int) -> Shape:
    return (*shape[:axis], extent, *shape[axis + 1 :])


def _rows(call: Call, name: str) -> object:
    """The extent of the first axis of a tensor argument, as torch gave it."""
    schema = cast(torch._ops.OpOverload, call.node.target)._schema.arguments
    place = [argument.name for argument in schema].index(name)
    return cast(torch.fx.Node, call.node.args[place]).meta["val"].shape[0]


RULES: Rules = {
    "copy": copy,
    "fill": fill,
    "select": select,
    "select_scatter": select_scatter,
    "slice": slice_,
    "slice_scatter": slice_scatter,
}
