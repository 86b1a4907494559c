"""Sums, means, variances, greatest and least values over any axes but the batch."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

from qbnnc.frontend.convert.arithmetic import negated
from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.shapes import broadcast, reshaped, step, transposed
from qbnnc.frontend.convert.values import Row, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Add, AveragePool2d, Function, MaxPool2d, Multiply, Unary

_Pair = tuple[int, int]


def mean(call: Call) -> Row:
    x = call.row("self")
    return _flat(call, averaged(call, x, _axes(call, x)))


def total(call: Call) -> Row:
    x = call.row("self")
    return _flat(call, averaged(call, x, _axes(call, x), divisor=1.0))


def largest(call: Call) -> Row:
    x = call.row("self")
    return _flat(call, _greatest(call, x, _axes(call, x)))


def least(call: Call) -> Row:
    x = call.row("self")
    return _flat(call, _least(call, x, _axes(call, x)))


def largest_of(call: Call) -> tuple[Tracked, ...]:
    """max(dim): the indices of the greatest have no integer form."""
    return (largest(call),)


def least_of(call: Call) -> tuple[Tracked, ...]:
    return (least(call),)


def variance(call: Call) -> Row:
    x = call.row("self")
    axes = _axes(call, x)
    return _flat(call, _variance(call, x, averaged(call, x, axes, keep=True), axes))


def deviation(call: Call) -> Row:
    x = call.row("self")
    axes = _axes(call, x)
    return _flat(call, _root(call, _variance(call, x, averaged(call, x, axes, keep=True), axes)))


def variance_and_mean(call: Call) -> tuple[Tracked, ...]:
    x = call.row("self")
    axes = _axes(call, x)
    centre = averaged(call, x, axes, keep=True)
    return _flat(call, _variance(call, x, centre, axes)), _flat(call, centre)


def deviation_and_mean(call: Call) -> tuple[Tracked, ...]:
    x = call.row("self")
    axes = _axes(call, x)
    centre = averaged(call, x, axes, keep=True)
    return _flat(call, _root(call, _variance(call, x, centre, axes))), _flat(call, centre)


def norm(call: Call) -> Row:
    """Of order 1, 2 or infinity."""
    x, order = call.row("self"), call.number("ord", 2.0)
    axes = _axes(call, x)
    if order == 2:
        squares = step(call, "squares", Multiply(), x, x)
        return _flat(call, _root(call, averaged(call, squares, axes, divisor=1.0)))
    size = step(call, "size", Unary(Function.ABS), x)
    if order == 1:
        return _flat(call, averaged(call, size, axes, divisor=1.0))
    if order != float("inf"):
        call.fail(f"is a norm of order {order:g}; only 1, 2 and infinity are supported")
    return _flat(call, _greatest(call, size, axes))


def averaged(
    call: Call, x: Value, axes: Sequence[int], *, divisor: float | None = None, keep: bool = False
) -> Value:
    """The mean over axes of the shape, or the sum divided by `divisor`; `keep` leaves ones."""
    image, kernel = _image(call, x, axes)
    divisors = () if divisor is None else (divisor,)
    y = call.emit(AveragePool2d(kernel, kernel, divisors=divisors), image)
    return reshaped(call, y, _kept(x, axes), "kept") if keep else y


def _greatest(call: Call, x: Value, axes: Sequence[int]) -> Value:
    image, kernel = _image(call, x, axes)
    return call.emit(MaxPool2d(kernel, kernel), image)


def _least(call: Call, x: Value, axes: Sequence[int]) -> Value:
    """The mirror of the greatest: -max(-x)."""
    return negated(call, _greatest(call, negated(call, x, "mirrored"), axes))


def _variance(call: Call, x: Value, centre: Value, axes: Sequence[int]) -> Value:
    """Mean squared distance from the mean, over n - correction."""
    count = prod(x.type.shape[axis] for axis in axes)
    divisor = count - _correction(call)
    if divisor <= 0:
        call.fail(f"is taken of {count} elements, and divides by {divisor:g}; it is not a number")
    minus = broadcast(call, negated(call, centre, "minus"), x.type.shape)
    centred = step(call, "centred", Add(), x, minus)
    squares = step(call, "squares", Multiply(), centred, centred)
    return averaged(call, squares, axes, divisor=float(divisor))


def _correction(call: Call) -> float:
    if "unbiased" in call.arguments:
        return 1.0 if call.flag("unbiased") else 0.0
    return call.number("correction", 1.0)


def _root(call: Call, x: Value) -> Value:
    function = Function.__members__.get("SQRT")
    if function is None:
        call.fail("takes a square root, which is not supported; return the variance")
    return step(call, "root", Unary(function), x)


def _axes(call: Call, x: Value) -> tuple[int, ...]:
    """Which axes of the shape, sorted; the batch is not among them."""
    rank, given = len(x.type.shape) + 1, call.arguments.get("dim")
    listed = [given] if isinstance(given, int) else list(cast("Sequence[int]", given or ()))
    axes = {axis % rank for axis in listed or range(rank)}
    if 0 in axes:
        call.fail(
            f"over the axes {sorted(axes)}, of which 0 is the batch; every row must be predicted "
            "by itself, so name the other axes (dim=...)"
        )
    return tuple(sorted(axis - 1 for axis in axes))


def _kept(x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else n for axis, n in enumerate(x.type.shape))


def _flat(call: Call, y: Value) -> Row:
    return Row(reshaped(call, y, call.row_shape(), "flat"))


def _image(call: Call, x: Value, axes: Sequence[int]) -> tuple[Value, _Pair]:
    """x as [C, H, W], and the window that holds all that is reduced.

    An image, and a sequence along its last axis, stay what they are. Neighbouring axes become one;
    leading ones are put last, where a window lies next to the channels. Others are put last first.
    """
    shape, rank = x.type.shape, len(x.type.shape)
    first, last = min(axes), max(axes) + 1
    if rank == 3 and first > 0:
        return x, (shape[1] if 1 in axes else 1, shape[2] if 2 in axes else 1)
    if last - first != len(axes):
        kept = [axis for axis in range(rank) if axis not in axes]
        x = transposed(call, x, *kept)
        before, after = prod(shape[axis] for axis in kept), 1
    else:
        before, after = prod(shape[:first]), prod(shape[last:])
    count = prod(shape[axis] for axis in axes)
    if after == 1:
        return reshaped(call, x, (before, 1, count), "image"), (1, count)
    image = reshaped(call, x, (before, count, after), "image")
    if before > 1:
        return image, (count, 1)
    return transposed(call, image, 2, 0, 1), (1, count)


RULES: Rules = {
    "amax": largest,
    "amin": least,
    "linalg_vector_norm": norm,
    "mean": mean,
    "std": deviation,
    "std_mean": deviation_and_mean,
    "sum": total,
    "var": variance,
    "var_mean": variance_and_mean,
}
