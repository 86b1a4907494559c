"""Shapes: reshapes, transposes, broadcasting, casts and copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import fx

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.constant_folding import repeated, shared_by_rows
from qbnnc.frontend.convert.dropout_masks import moved_masks
from qbnnc.frontend.convert.dropout_masks.handwritten_masks import floored
from qbnnc.frontend.convert.images import Places
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Constant,
    DropoutMask,
    Filled,
    Masked,
    MaskSum,
    Product,
    Tracked,
    Transposed,
    Uniform,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Gather, Op, Pairwise, Reshape, Transpose


def reshape(call: Call) -> Tracked:
    """A reshape of each row, if the batch stays the first axis; torch's result tells the shape."""
    match call.tracked("self"):
        case Filled(row=None) as filled:
            return replace(filled, shape=call.shape())
        case Transposed(value) if (found := _ones_gone(call)) is not None:
            whole, place = found
            return placed(call, reshaped(call, value, whole), place)
        case Places() as places if _ones_gone(call) is not None:
            return places
        case x:
            value = call.context.value(x, call)
            if (found := _ones_gone(call)) is not None and found[1]:
                return placed(call, reshaped(call, value, found[0]), found[1])
            return Activation(reshaped(call, value, call.row_shape()))


def _ones_gone(call: Call) -> tuple[tuple[int, ...], int] | None:
    """(shape, place of the batch) if only axes of 1 come and go around the batch; else None."""
    old, new = (call.node.all_input_nodes[0].meta["val"].shape, call.shape())
    places = [axis for axis, extent in enumerate(new) if call.context.is_batch(extent)]
    if len(places) != 1 or [n for n in old if n != 1] != [n for n in new if n != 1]:
        return None
    whole = tuple(int(n) for axis, n in enumerate(new) if axis != places[0])
    return whole, places[0]


def reshaped(call: Call, x: Value, shape: tuple[int, ...], suffix: str = "") -> Value:
    """x under another shape, or x itself if it has that shape; `suffix` names the step."""
    if x.type.shape == shape:
        return x
    return step(call, suffix, Reshape(shape), x)


def step(call: Call, suffix: str, op: Op, *inputs: Value) -> Value:
    """The value of one of several ops that a call becomes, named after the call."""
    place = call.place()
    name = f"{place.name}.{suffix}".removesuffix(".")
    return call.context.build.emit(op, *inputs, loc=place.loc, name=name)


def permute(call: Call) -> Tracked:
    """Axes in another order; a reshape if only axes of 1 move and the batch stays first."""
    x, before = turned(call)
    rank = len(x.type.shape) + 1
    order = [axis % rank for axis in _order(call, rank)]
    extents = list(x.type.shape)
    extents.insert(before, 0)
    long = [axis for axis in order if axis == before or extents[axis] > 1]
    if before == 0 and order[0] == 0 and long == sorted(long):
        return reshape(call)
    inner = [axis - (axis > before) for axis in order if axis != before]
    if inner != sorted(inner):
        x = transposed(call, x, *inner)
    return placed(call, x, order.index(before))


def turned(call: Call) -> tuple[Value, int]:
    """The call's tensor, and the number of torch's axis that is the batch."""
    match call.tracked("self"):
        case Transposed(value, batch):
            return value, batch
        case _:
            return call.row("self"), 0


def placed(call: Call, x: Value, batch: int) -> Activation | Transposed:
    """x, whose batch is torch's axis `batch` of the result."""
    return Activation(x) if batch == 0 else Transposed(x, batch)


def transposed(call: Call, x: Value, *first: int) -> Value:
    """x with the axes `first` (without the batch) in front, and the others behind in order."""
    rest = (axis for axis in range(len(x.type.shape)) if axis not in first)
    return call.emit(Transpose((*first, *rest)), x)


def _order(call: Call, rank: int) -> list[int]:
    if "dims" in call.arguments:
        return list(cast("Sequence[int]", call.arguments["dims"]))
    first, second = (call.integer("dim0"), call.integer("dim1")) if rank != 2 else (0, 1)
    order = list(range(rank))
    order[first], order[second] = order[second], order[first]
    return order


def expand(call: Call) -> Tracked:
    match call.tracked("self"):
        case (DropoutMask() | MaskSum() | Uniform()) as random:
            return moved_masks.expanded(call, random)
        case Filled() as filled:
            return filled  # broadcasting does the same
        case Constant(tensor):
            return _expanded(call, tensor)
        case x:
            value = call.context.value(x, call)
            return x if call.row_shape() == value.type.shape else _repeated(call, value)


def _repeated(call: Call, x: Value) -> Activation:
    """Repeat activations along axes of length 1."""
    shape = call.row_shape()
    x = reshaped(call, x, (1,) * (len(shape) - len(x.type.shape)) + x.type.shape, "axes")
    return Activation(broadcast(call, x, shape))


def broadcast(call: Call, x: Value, shape: tuple[int, ...]) -> Value:
    """x repeated along its axes of length 1 until it has this shape, of the same rank."""
    for axis, (have, want) in enumerate(zip(x.type.shape, shape, strict=True)):
        if have != want:
            x = step(call, "broadcast", Gather(axis, (0,) * want), x)
    return x


def together(call: Call, what: str, a: Value, b: Value) -> tuple[int, ...]:
    """The shape of two rows that broadcast; CompileError if that would mix the batch."""
    if len(a.type.shape) != len(b.type.shape):
        mine, other = (["batch", *v.type.shape] for v in (a, b))
        call.fail(
            f"{what} [{', '.join(map(str, mine))}] and [{', '.join(map(str, other))}]",
            "torch aligns the last axes, so that the batch of one meets another axis of "
            "the other: reshape one so that both have the same number of axes, the batch "
            "first",
        )
    return np.broadcast_shapes(a.type.shape, b.type.shape)


def pairwise(call: Call, op: Pairwise, what: str, left: Value, right: Value) -> Activation:
    """The op on two rows that broadcast; `what` says in errors what it does to them."""
    shape = together(call, what, left, right)
    whole = (broadcast(call, each, shape) for each in (left, right))
    return Activation(call.emit(op, *whole))


def _expanded(call: Call, tensor: torch.Tensor) -> Tracked:
    """A constant repeated: one number in a shape with the batch, or a larger constant."""
    shape, number = call.shape(), number_of(tensor)
    if shape and call.context.is_batch(shape[0]) and number is not None:
        return Filled(shape, number)
    if isinstance(filled := repeated(call), Filled) and not isinstance(shape[0], int):
        return filled
    static = [extent for extent in shape if isinstance(extent, int)]
    if len(static) != len(shape):
        if (shared := shared_by_rows(call)) is not None:
            return shared
        call.fail(
            "repeats a tensor of different numbers along the batch, so that a row's result "
            "would depend on its place in the batch (BatchEnsemble's and Masksembles' layers do "
            "that)",
            "make a network of each member and compile a list of these, or choose a member at "
            "random: values[torch.randint(len(values), (1,))] for all rows, and (len(x),) for each",
        )
    return Constant(tensor.expand(static))


def cast_to(call: Call) -> Tracked:
    """Drop a cast, as the graph computes in float32; CompileError if it rounds activations."""
    x, dtype = call.tracked("self"), call.arguments.get("dtype")
    activation = isinstance(x, AnyActivation)
    if activation and isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        call.fail(f"casts activations to {dtype}, which rounds them", "only floats are supported")
    if isinstance(dtype, torch.dtype) and not dtype.is_floating_point:
        return _whole(call, x, dtype)
    return x


def _whole(call: Call, x: Tracked, dtype: torch.dtype) -> Tracked:
    """Random numbers as integers, or as booleans that are true unless 0."""
    match x:
        case DropoutMask() if dtype is torch.bool and x.scale != 0:
            return replace(x, scale=1.0)
        case DropoutMask() if x.scale != int(x.scale):
            call.fail(f"casts a mask of 0 and {x.scale:g} to {dtype}, which rounds it")
        case MaskSum() if not call.is_bool("self"):
            call.fail(f"casts a sum of masks to {dtype}", "combine masks with & and | for a mask")
        case Uniform() if dtype is torch.bool:
            call.fail(
                "casts uniform noise to bool, which is always true", "compare it with a number"
            )
        case Uniform():
            return floored(call, x)
        case _:
            return x
    return x


def unchanged(call: Call) -> Tracked:
    return call.tracked("self")


def broadcast_tensors(call: Call) -> tuple[Tracked, ...]:
    """Repeat each activation to the common shape; tensors of one shape stay as they are."""
    tensors = cast("list[Tracked]", call.arguments["tensors"])
    shapes = {str(list(n.meta["val"].shape)) for n in call.node.all_input_nodes}
    if len(shapes) == 1 and all(isinstance(t, AnyActivation | Constant | Filled) for t in tensors):
        return tuple(tensors)
    if _only_whole_ones_are_used(call):
        return tuple(tensors)
    if not any(isinstance(t, Activation | Masked | Product) for t in tensors):
        call.fail("broadcasting tensors by hand is not supported", "operators do it themselves")
    return tuple(_broadcast_to(call, each, number) for number, each in enumerate(tensors))


def _broadcast_to(call: Call, x: Tracked, number: int) -> Tracked:
    """One of several tensors in their common shape; `number` is its place among them."""
    shape = call.shape(number)
    row = tuple(int(extent) for extent in shape[1:])
    match x:
        case Filled(_, float() as each):
            return Filled(shape, each)
        case Constant(tensor) if tensor.ndim <= len(row) or len(tensor) == 1:
            whole = tensor.expand(1, *row)[0]
            same = number_of(whole)
            return Filled(shape, None, whole) if same is None else Filled(shape, same)
        case _:
            value = call.context.value(x, call)
            if len(value.type.shape) != len(row):
                call.fail("broadcasts tensors whose numbers of axes differ", "reshape them before")
            return Activation(broadcast(call, value, row))


def _only_whole_ones_are_used(call: Call) -> bool:
    """Whether all results in use have the shape of their tensors.

    A distribution that forward makes and does not return, Normal(output, sigma), broadcasts the
    output, which torch's tracing takes for the one that is returned.
    """
    inputs = cast("list[fx.Node]", call.node.args[0])
    used = [cast(int, user.args[1]) for user in call.node.users]
    common = str(list(call.node.meta["val"][0].shape))
    return bool(used) and all(str(list(inputs[i].meta["val"].shape)) == common for i in used)


ELEMENTWISE = frozenset(
    "_to_copy alias clone contiguous detach lift_fresh lift_fresh_copy to type_as".split()
)
RULES: Rules = {
    **dict.fromkeys(
        "_unsafe_view flatten reshape squeeze unflatten unsqueeze view _reshape_copy".split(),
        reshape,
    ),
    **dict.fromkeys("alias clone contiguous detach lift_fresh_copy lift_fresh".split(), unchanged),
    **dict.fromkeys("_to_copy to type_as".split(), cast_to),
    **dict.fromkeys("permute swapaxes swapdims t transpose".split(), permute),
    "broadcast_tensors": broadcast_tensors,
    "expand": expand,
    "expand_as": expand,
}
