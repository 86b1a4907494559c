"""Reductions: sums, means, variances, norms, greatest and least values over any axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.affine import negated
from qbnnc.frontend.convert.ops.shapes import broadcast, placed, reshaped, step, transposed, turned
from qbnnc.frontend.convert.tracked import Activation, Tracked, Transposed
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Add, AveragePool2d, Function, MaxPool2d, Multiply, Unary

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A reduction over axes of the shape of x, whose batch is torch's axis `batch`."""

    call: Call
    x: Value
    axes: tuple[int, ...]
    batch: int

    @staticmethod
    def of(call: Call) -> _Reduced:
        x, batch = turned(call)
        return _Reduced(call, x, _axes(call, x, batch), batch)

    def result(self, y: Value) -> Activation | Transposed:
        """y with the axes that torch's result has."""
        if self.call.flag("keepdim"):
            kept = _kept(self.x, self.axes)
            return placed(self.call, reshaped(self.call, y, kept, "flat"), self.batch)
        left = tuple(n for axis, n in enumerate(self.x.type.shape) if axis not in self.axes)
        before = sum(axis < self.batch for axis in self.axes)
        return placed(self.call, reshaped(self.call, y, left, "flat"), self.batch - before)


def mean(call: Call) -> Tracked:
    of = _Reduced.of(call)
    return of.result(averaged(call, of.x, of.axes))


def total(call: Call) -> Tracked:
    of = _Reduced.of(call)
    return of.result(averaged(call, of.x, of.axes, divisor=1.0))


def largest(call: Call) -> Tracked:
    of = _Reduced.of(call)
    return of.result(_greatest(call, of.x, of.axes))


def least(call: Call) -> Tracked:
    of = _Reduced.of(call)
    return of.result(_least(call, of.x, of.axes))


def largest_of(call: Call) -> tuple[Tracked, ...]:
    """max(dim) without the indices, which have no integer form."""
    return (largest(call),)


def least_of(call: Call) -> tuple[Tracked, ...]:
    return (least(call),)


def variance(call: Call) -> Tracked:
    return variance_and_mean(call)[0]


def standard_deviation(call: Call) -> Tracked:
    return standard_deviation_and_mean(call)[0]


def variance_and_mean(call: Call) -> tuple[Tracked, ...]:
    of = _Reduced.of(call)
    centre = averaged(call, of.x, of.axes, keep=True)
    return of.result(_variance(call, of.x, centre, of.axes)), of.result(centre)


def standard_deviation_and_mean(call: Call) -> tuple[Tracked, ...]:
    of = _Reduced.of(call)
    centre = averaged(call, of.x, of.axes, keep=True)
    return of.result(_root(call, _variance(call, of.x, centre, of.axes))), of.result(centre)


def norm(call: Call) -> Tracked:
    """A norm of order 1, 2 or infinity."""
    of, order = _Reduced.of(call), call.number("ord", 2.0)
    if order == 2:
        squares = step(call, "squares", Multiply(), of.x, of.x)
        return of.result(_root(call, averaged(call, squares, of.axes, divisor=1.0)))
    size = step(call, "size", Unary(Function.ABS), of.x)
    if order == 1:
        return of.result(averaged(call, size, of.axes, divisor=1.0))
    if order != float("inf"):
        call.fail(f"is a norm of order {order:g}", "only 1, 2 and infinity are supported")
    return of.result(_greatest(call, size, of.axes))


def norm_of_any(call: Call) -> Tracked:
    """torch.linalg.norm of vectors; CompileError for a norm of matrices."""
    order, axes = call.arguments.get("ord"), call.arguments.get("dim")
    matrices = order is not None and (axes is None or len(cast("Sequence[int]", axes)) > 1)
    if matrices or isinstance(order, str):
        call.fail(f"is a norm of matrices ({order})", "only norms of vectors are supported")
    return norm(call)


def averaged(
    call: Call, x: Value, axes: Sequence[int], *, divisor: float | None = None, keep: bool = False
) -> Value:
    """The mean over axes of the shape, or the sum over `divisor`; `keep` leaves axes of 1."""
    image, kernel = _image(call, x, axes)
    divisors = () if divisor is None else (divisor,)
    y = call.emit(AveragePool2d(kernel, kernel, divisors=divisors), image)
    return reshaped(call, y, _kept(x, axes), "kept") if keep else y


def _greatest(call: Call, x: Value, axes: Sequence[int]) -> Value:
    image, kernel = _image(call, x, axes)
    return call.emit(MaxPool2d(kernel, kernel), image)


def _least(call: Call, x: Value, axes: Sequence[int]) -> Value:
    """The least value, as -max(-x)."""
    return negated(call, _greatest(call, negated(call, x, "mirrored"), axes))


def _variance(call: Call, x: Value, centre: Value, axes: Sequence[int]) -> Value:
    """The sum of squared distances from the mean, divided by n - correction."""
    count = prod(x.type.shape[axis] for axis in axes)
    divisor = count - _correction(call)
    if divisor <= 0:
        call.fail(f"is taken of {count} elements, and divides by {divisor:g}", "it is not a number")
    minus = broadcast(call, negated(call, centre, "minus"), x.type.shape)
    centred = step(call, "centred", Add(), x, minus)
    squares = step(call, "squares", Multiply(), centred, centred)
    return averaged(call, squares, axes, divisor=float(divisor))


def _correction(call: Call) -> float:
    if "unbiased" in call.arguments:
        return 1.0 if call.flag("unbiased") else 0.0
    return call.number("correction", 1.0)


def _root(call: Call, x: Value) -> Value:
    return step(call, "root", Unary(Function.POW, 0.5), x)


def _axes(call: Call, x: Value, batch: int) -> tuple[int, ...]:
    """The reduced axes of the shape, sorted; CompileError if the batch is among them."""
    rank, given = len(x.type.shape) + 1, call.arguments.get("dim")
    listed = [given] if isinstance(given, int) else list(cast("Sequence[int]", given or ()))
    axes = {axis % rank for axis in listed or range(rank)}
    if batch in axes:
        call.fail(
            f"over the axes {sorted(axes)}, of which {batch} is the batch",
            "every row must be predicted by itself, so name the other axes (dim=...)",
        )
    return tuple(sorted(axis - (axis > batch) for axis in axes))


def _kept(x: Value, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(1 if axis in axes else n for axis, n in enumerate(x.type.shape))


def _image(call: Call, x: Value, axes: Sequence[int]) -> tuple[Value, _Pair]:
    """x as [C, H, W], and the window that holds all that is reduced.

    An image stays as it is, and so does a sequence along its last axis. Neighbouring axes become
    one. Leading axes are moved to the end, and axes that are no neighbours are moved there first.
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
    "linalg_norm": norm_of_any,
    "linalg_vector_norm": norm,
    "mean": mean,
    "std": standard_deviation,
    "std_mean": standard_deviation_and_mean,
    "sum": total,
    "var": variance,
    "var_mean": variance_and_mean,
}
