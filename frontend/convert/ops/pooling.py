"""Pooling over windows: plain, with ceil_mode, and adaptive to any size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.images import Places
from qbnnc.frontend.convert.ops.element_moves import Index, taken
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import Activation, Tracked
from qbnnc.frontend.program.locations import plain_name
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import AveragePool2d, MaxPool2d, Pad

_Pair = tuple[int, int]
_Around = tuple[int, int, int, int]


def max_pool2d(call: Call) -> Activation:
    return _max_pool(call, 2)


def max_pool1d(call: Call) -> Activation:
    return _max_pool(call, 1)


def max_pool2d_with_indices(call: Call) -> tuple[Tracked, ...]:
    return _max_pool(call, 2), _places(call, 2)


def max_pool1d_with_indices(call: Call) -> tuple[Tracked, ...]:
    return _max_pool(call, 1), _places(call, 1)


def average_pool2d(call: Call) -> Activation:
    return _average_pool(call, 2)


def average_pool1d(call: Call) -> Activation:
    return _average_pool(call, 1)


def adaptive_average_pool(call: Call) -> Activation:
    """Adaptive average pooling; uneven windows get zeros, and each sum its own divisor."""
    x, outputs = _adaptive(call)
    if (window := _even(x, outputs)) is not None:
        return _flat(call, call.emit(AveragePool2d(window, window), x))
    rows, columns = (
        adaptive_windows(x.type.shape[1], outputs[0]),
        adaptive_windows(x.type.shape[2], outputs[1]),
    )
    counts = np.multiply.outer((rows >= 0).sum(axis=1), (columns >= 0).sum(axis=1))
    window = (rows.shape[1], columns.shape[1])
    op = AveragePool2d(window, window, divisors=tuple(float(n) for n in counts.reshape(-1)))
    return _flat(call, call.emit(op, _laid_out(call, x, rows, columns)))


def adaptive_max_pool(call: Call) -> tuple[Tracked, ...]:
    """Adaptive max pooling; uneven windows are filled up with their last element."""
    x, outputs = _adaptive(call)
    window = _even(x, outputs)
    if window is None:
        rows, columns = (
            np.maximum.accumulate(adaptive_windows(n, m), axis=1)
            for n, m in zip(x.type.shape[1:], outputs, strict=True)
        )
        window = (rows.shape[1], columns.shape[1])
        x = _laid_out(call, x, rows, columns)
    return (_flat(call, call.emit(MaxPool2d(window, window), x)),)


def _laid_out(call: Call, x: Value, rows: Index, columns: Index) -> Value:
    """The windows one after the other; elements of two windows appear twice."""
    return taken(call, taken(call, x, 1, rows.reshape(-1)), 2, columns.reshape(-1))


class _Windows(NamedTuple):
    """The geometry of windows; only ceil_mode reaches the extra rows and columns `ceiled`."""

    kernel: _Pair
    stride: _Pair
    padding: _Pair
    dilation: _Pair
    ceiled: _Pair

    @property
    def around(self) -> _Around:
        (top, left), (below, right) = self.padding, self.ceiled
        return top, left, top + below, left + right


def _max_pool(call: Call, rank: int) -> Activation:
    x = _image(call, rank)
    windows = _geometry(call, x, rank)
    op = MaxPool2d(windows.kernel, windows.stride, windows.around, windows.dilation)
    return _flat(call, call.emit(op, x))


def _places(call: Call, rank: int) -> Places:
    """The indices of a max pool; only an unpooling takes them."""
    x = _image(call, rank)
    windows = _geometry(call, x, rank)
    pooled = (1, *call.row_shape())[-2:] if rank == 2 else (1, call.row_shape()[-1])
    plain = (windows.padding, windows.ceiled, windows.dilation) == ((0, 0), (0, 0), (1, 1))
    return Places(x, windows.kernel, pooled, plain and windows.kernel == windows.stride)


def _average_pool(call: Call, rank: int) -> Activation:
    """Average pooling; torch counts padding (count_include_pad), but never what ceil_mode adds."""
    x = _image(call, rank)
    windows = _geometry(call, x, rank)
    kernel, stride = windows.kernel, windows.stride
    include, around, divisors = call.flag("count_include_pad"), windows.around, divisors_of(call)
    if include and any(windows.ceiled) and not divisors:
        if any(windows.padding):
            x = step(call, "padded", Pad((*windows.padding, *windows.padding)), x)
        include, around = False, (0, 0, *windows.ceiled)
    op = AveragePool2d(kernel, stride, around, count_include_pad=include, divisors=divisors)
    return _flat(call, call.emit(op, x))


def divisors_of(call: Call) -> tuple[float, ...]:
    """The divisor that a pool is given in place of the number of elements; () for none."""
    divisor = call.arguments.get("divisor_override")
    if divisor is None:
        return ()
    if not isinstance(divisor, int) or divisor < 1:
        call.fail(f"divides by {divisor}", "only positive divisors are supported")
    return (float(divisor),)


def _geometry(call: Call, x: Value, rank: int) -> _Windows:
    kernel = _numbers(call, "kernel_size", rank, 1)
    stride = _numbers(call, "stride", rank, 1, kernel)
    padding = _numbers(call, "padding", rank, 0)
    dilation = _numbers(call, "dilation", rank, 1) if "dilation" in call.arguments else (1, 1)
    outputs = (1, *call.row_shape())[-2:] if rank == 2 else (1, call.row_shape()[-1])
    reached = [
        (count - 1) * s + (k - 1) * d + 1
        for count, s, k, d in zip(outputs, stride, kernel, dilation, strict=True)
    ]
    room = [n + 2 * p for n, p in zip(x.type.shape[1:], padding, strict=True)]
    below, right = (max(0, r - have) for r, have in zip(reached, room, strict=True))
    return _Windows(kernel, stride, padding, dilation, (below, right))


def _numbers(call: Call, name: str, rank: int, neutral: int, default: _Pair | None = None) -> _Pair:
    """An argument as (rows, columns); over one axis the rows are `neutral`."""
    rows, columns = call.pair(name, default)
    return (rows, columns) if rank == 2 else (neutral, columns)


def _image(call: Call, rank: int) -> Value:
    """x as [C, H, W]; without channels torch takes the batch for them, which is the same."""
    x = call.row("self")
    shape = x.type.shape if rank == 2 else (*x.type.shape[:-1], 1, *x.type.shape[-1:])
    *channels, height, width = shape
    if len(channels) > 1:
        call.fail(f"takes rows of shape {list(x.type.shape)}", "only [channels, height, width]")
    return reshaped(call, x, (*(channels or [1]), height, width), "image")


def _adaptive(call: Call) -> tuple[Value, _Pair]:
    rank = 1 if plain_name(call.node).endswith("1d") else 2
    wanted = call.row_shape()
    return _image(call, rank), (wanted[-2] if rank == 2 else 1, wanted[-1])


def _even(x: Value, outputs: _Pair) -> _Pair | None:
    """The window, if windows of one size cover the image without overlap; else None."""
    _, height, width = x.type.shape
    if height % outputs[0] or width % outputs[1]:
        return None
    return height // outputs[0], width // outputs[1]


def adaptive_windows(extent: int, count: int) -> Index:
    """The places of each adaptive window, [count, longest], with -1 behind shorter windows."""
    number = np.arange(count)
    starts, ends = number * extent // count, -(-(number + 1) * extent // count)
    places = starts[:, None] + np.arange((ends - starts).max())
    return np.where(places < ends[:, None], places, -1)


def _flat(call: Call, y: Value) -> Activation:
    return Activation(reshaped(call, y, call.row_shape(), "flat"))


RULES: Rules = {
    "_adaptive_avg_pool2d": adaptive_average_pool,
    "adaptive_avg_pool1d": adaptive_average_pool,
    "adaptive_avg_pool2d": adaptive_average_pool,
    "adaptive_max_pool1d": adaptive_max_pool,
    "adaptive_max_pool2d": adaptive_max_pool,
    "avg_pool1d": average_pool1d,
    "avg_pool2d": average_pool2d,
    "max_pool1d": max_pool1d,
    "max_pool1d_with_indices": max_pool1d_with_indices,
    "max_pool2d": max_pool2d,
    "max_pool2d_with_indices": max_pool2d_with_indices,
}
