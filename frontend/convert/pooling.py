"""Pooling: windows, adaptive pooling that divides evenly, means over space."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.shapes import reshaped
from qbnnc.frontend.convert.values import Row, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import AveragePool2d, MaxPool2d

_Pair = tuple[int, int]


def max_pool2d(call: Call) -> Row:
    kernel = call.pair("kernel_size")
    stride, dilation = call.pair("stride", kernel), call.pair("dilation")
    op = MaxPool2d(kernel, stride, _both_sides(call.pair("padding")), dilation)
    return _pooled(call, call.row("self"), op)


def max_pool2d_with_indices(call: Call) -> tuple[Tracked, ...]:
    return (max_pool2d(call),)


def average_pool2d(call: Call) -> Row:
    if call.arguments.get("divisor_override") is not None:
        call.fail("divisor_override is not supported; multiply by a constant after the pooling")
    kernel = call.pair("kernel_size")
    stride, padding = call.pair("stride", kernel), _both_sides(call.pair("padding"))
    op = AveragePool2d(kernel, stride, padding, count_include_pad=call.flag("count_include_pad"))
    return _pooled(call, call.row("self"), op)


def max_pool1d(call: Call) -> Row:
    """As max_pool2d over [C, 1, L] with a window one high."""
    kernel = (1, call.pair("kernel_size")[1])
    stride, dilation = (1, call.pair("stride", kernel)[1]), (1, call.pair("dilation")[1])
    op = MaxPool2d(kernel, stride, _both_sides((0, call.pair("padding")[1])), dilation)
    return _pooled(call, call.row("self"), op)


def average_pool1d(call: Call) -> Row:
    kernel = (1, call.pair("kernel_size")[1])
    stride, padding = (1, call.pair("stride", kernel)[1]), (0, call.pair("padding")[1])
    include = call.flag("count_include_pad")
    op = AveragePool2d(kernel, stride, _both_sides(padding), count_include_pad=include)
    return _pooled(call, call.row("self"), op)


def adaptive_average_pool(call: Call) -> Row:
    x = call.row("self")
    kernel = _even_windows(call, x)
    return _pooled(call, x, AveragePool2d(kernel, kernel))


def adaptive_max_pool(call: Call) -> tuple[Tracked, ...]:
    x = call.row("self")
    kernel = _even_windows(call, x)
    return (_pooled(call, x, MaxPool2d(kernel, kernel)),)


def mean(call: Call) -> Row:
    """Over all of space: [C, H, W] or [C, L] to [C], or to [C, 1, 1] with keepdim."""
    x = call.row("self")
    kernel = _all_of_space(call, x)
    return _pooled(call, x, AveragePool2d(kernel, kernel))


def largest(call: Call) -> Row:
    """amax over all of space."""
    x = call.row("self")
    kernel = _all_of_space(call, x)
    return _pooled(call, x, MaxPool2d(kernel, kernel))


def _pooled(call: Call, x: Value, op: AveragePool2d | MaxPool2d) -> Row:
    """Pool [C, H, W], or [C, L] as [C, 1, L], and give the result the shape torch gives it."""
    shape = x.type.shape
    if len(shape) == 2:
        x = reshaped(call, x, (shape[0], 1, shape[1]), "image")
    elif len(shape) != 3:
        call.fail(f"takes rows of shape {list(shape)}; only [channels, height, width]")
    y = call.emit(op, x)
    wanted = call.row_shape()
    if y.type.size != prod(wanted):
        call.fail(
            f"gives {list(wanted)} where whole windows give {list(y.type.shape)}; "
            "ceil_mode is supported only where the windows fit"
        )
    return Row(reshaped(call, y, wanted, "flat"))


def _even_windows(call: Call, x: Value) -> _Pair:
    extents, outputs = _space(x), _space_of(call.row_shape())
    if any(n % m for n, m in zip(extents, outputs, strict=True)):
        call.fail(f"pools {list(extents)} to {list(outputs)}; the sizes must divide evenly")
    return extents[0] // outputs[0], extents[1] // outputs[1]


def _all_of_space(call: Call, x: Value) -> _Pair:
    rank = len(x.type.shape) + 1
    given = call.arguments.get("dim")
    axes = {a % rank for a in cast("Sequence[int]", given or range(rank))}
    if rank not in (3, 4) or axes != set(range(2, rank)):
        call.fail(f"over the axes {sorted(axes)}; only over all of space: [2, 3] of an image")
    return _space(x)


def _space(x: Value) -> _Pair:
    return _space_of(x.type.shape)


def _space_of(shape: tuple[int, ...]) -> _Pair:
    return (1, shape[1]) if len(shape) == 2 else (shape[-2], shape[-1])


def _both_sides(padding: _Pair) -> tuple[int, int, int, int]:
    return (*padding, *padding)


RULES: Rules = {
    "_adaptive_avg_pool2d": adaptive_average_pool,
    "adaptive_avg_pool1d": adaptive_average_pool,
    "adaptive_avg_pool2d": adaptive_average_pool,
    "adaptive_max_pool1d": adaptive_max_pool,
    "adaptive_max_pool2d": adaptive_max_pool,
    "amax": largest,
    "avg_pool1d": average_pool1d,
    "avg_pool2d": average_pool2d,
    "max_pool1d": max_pool1d,
    "max_pool2d": max_pool2d,
    "max_pool2d_with_indices": max_pool2d_with_indices,
    "mean": mean,
}
