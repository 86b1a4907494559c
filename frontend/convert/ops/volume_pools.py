"""Pools over depth, height and width.

A maximum is taken along the depth, then in the planes. A mean is rounded once: the rows that a
window meets are laid one below the other, and one pool reads them.
"""

from __future__ import annotations

import numpy as np

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.images import Places
from qbnnc.frontend.convert.ops.element_moves import Index, taken
from qbnnc.frontend.convert.ops.pooling import adaptive_windows, divisors_of
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.ops.volumes import Windows, three, triple, volume
from qbnnc.frontend.convert.tracked import Activation, Tracked
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import AveragePool2d, MaxPool2d, Slice, Transpose


def max_pool3d(call: Call) -> Activation:
    x = volume(call, "self")
    return Activation(_greatest(call, x, _windows(call, x)))


def max_pool3d_with_indices(call: Call) -> tuple[Tracked, ...]:
    x = volume(call, "self")
    windows, (_, *pooled) = _windows(call, x), call.row_shape()
    plain = not any((*windows.before, *windows.after)) and windows.dilation == (1, 1, 1)
    apart = plain and windows.kernel == windows.stride
    places = Places(x, windows.kernel, tuple(pooled), apart)
    return Activation(_greatest(call, x, windows)), places


def average_pool3d(call: Call) -> Activation:
    """Average pooling; torch counts padding (count_include_pad), but never what ceil_mode adds."""
    x = volume(call, "self")
    windows, override = _windows(call, x), divisors_of(call)
    places, counts = list[Index](), list[Index]()
    for n, count, k, s, p in zip(
        x.type.shape[1:],
        call.row_shape()[1:],
        windows.kernel,
        windows.stride,
        windows.before,
        strict=True,
    ):
        starts = np.arange(count) * s - p
        own = starts[:, None] + np.arange(k)
        inside = (own >= 0) & (own < n)
        places.append(np.where(inside, own, -1))
        counted = own < n + p if call.flag("count_include_pad") else inside
        counts.append(counted.sum(axis=1))
    divisors = override or _divisors(counts)
    rows = _laid_out(call, x, places[0], places[1])
    kernel = (windows.kernel[0] * windows.kernel[1], windows.kernel[2])
    around = (0, windows.before[2], 0, windows.after[2])
    op = AveragePool2d(kernel, (kernel[0], windows.stride[2]), around, divisors=divisors)
    return _whole(call, call.emit(op, rows))


def adaptive_average_pool3d(call: Call) -> Activation:
    """Adaptive average pooling; uneven windows get zeros, and each sum its own divisor."""
    x = volume(call, "self")
    places = _adaptive(call, x)
    divisors = _divisors([(own >= 0).sum(axis=1) for own in places])
    x = taken(call, x, 3, places[2].reshape(-1))
    kernel = (places[0].shape[1] * places[1].shape[1], places[2].shape[1])
    op = AveragePool2d(kernel, kernel, divisors=divisors)
    return _whole(call, call.emit(op, _laid_out(call, x, places[0], places[1])))


def adaptive_max_pool3d(call: Call) -> tuple[Tracked, ...]:
    """Adaptive max pooling; uneven windows are filled up with their last element."""
    x, none = volume(call, "self"), (0, 0, 0)
    places = [np.maximum.accumulate(own, axis=1) for own in _adaptive(call, x)]
    for axis, own in enumerate(places, start=1):
        x = taken(call, x, axis, own.reshape(-1))
    kernel = triple(own.shape[1] for own in places)
    return (Activation(_greatest(call, x, Windows(kernel, kernel, none, none))),)


def _windows(call: Call, x: Value) -> Windows:
    """The windows; behind the last elements is what ceil_mode reaches, too."""
    kernel, before = three(call, "kernel_size"), three(call, "padding")
    stride, one = three(call, "stride", kernel), (1, 1, 1)
    dilation = three(call, "dilation") if "dilation" in call.arguments else one
    plain = Windows(kernel, stride, before, before, dilation)
    after = triple(
        max(p, (count - 1) * s + d * (k - 1) + 1 - n - p)
        for n, count, k, s, p, d in zip(
            x.type.shape[1:],
            call.row_shape()[1:],
            plain.kernel,
            plain.stride,
            before,
            dilation,
            strict=True,
        )
    )
    return Windows(kernel, stride, before, after, dilation)


def _greatest(call: Call, x: Value, windows: Windows) -> Value:
    """The maximum over each window of x [C, D, H, W]: along the depth, then in the planes."""
    channels, depth, height, width = x.type.shape
    kernel, stride, before, after = windows.kernel, windows.stride, windows.before, windows.after
    result = windows.extents(x.type.shape[1:])
    x = reshaped(call, x, (channels, depth, height * width), "planes")
    if (kernel[0], stride[0], before[0], after[0]) != (1, 1, 0, 0):
        around, dilation = (before[0], 0, after[0], 0), (windows.dilation[0], 1)
        x = step(call, "deep", MaxPool2d((kernel[0], 1), (stride[0], 1), around, dilation), x)
    rows = result[1] * stride[1]
    reach = (kernel[1] - 1) * windows.dilation[1] + 1
    if reach <= stride[1] and rows <= height and not before[1]:  # no window meets two planes
        if rows < height:
            x = step(call, "rows", Slice(2, 0, rows * width), x)
        x = reshaped(call, x, (channels, result[0] * rows, width), "image")
        around = (0, before[2], 0, after[2])
    else:
        x = reshaped(call, x, (channels * result[0], height, width), "images")
        around = (before[1], before[2], after[1], after[2])
    y = call.emit(MaxPool2d(kernel[1:], stride[1:], around, windows.dilation[1:]), x)
    return reshaped(call, y, (channels, *result), "volume")


def _laid_out(call: Call, x: Value, depth: Index, height: Index) -> Value:
    """[C, D'*H'*kd*kh, W]: the rows of x at the places [D', kd] and [H', kh], window by window."""
    channels, width = x.type.shape[0], x.type.shape[3]
    sizes, order = [channels], [[0], list[int]()]
    for axis, places in enumerate((depth, height), start=1):
        count, taps = places.shape
        if np.array_equal(places.reshape(-1), np.arange(x.type.shape[axis])):
            sizes += [count, taps]
            order[0].append(2 * axis - 1)
            order[1].append(2 * axis)
            continue
        # Tap by tap there are few steps of even length, however many windows there are.
        x = taken(call, x, axis, places.T.reshape(-1))
        sizes += [taps, count]
        order[0].append(2 * axis)
        order[1].append(2 * axis - 1)
    split = reshaped(call, x, (*sizes, width), "windows")
    whole = (*order[0], *order[1], len(sizes))
    moving = [axis for axis in whole if split.type.shape[axis] > 1]
    if moving != sorted(moving):
        split = step(call, "turned", Transpose(whole), split)
    return reshaped(call, split, (channels, depth.size * height.size, width), "rows")


def _adaptive(call: Call, x: Value) -> list[Index]:
    """The places of each window along depth, height and width."""
    return [
        adaptive_windows(n, count)
        for n, count in zip(x.type.shape[1:], call.row_shape()[1:], strict=True)
    ]


def _divisors(counts: list[Index]) -> tuple[float, ...]:
    """What the sum of each window is divided by; one number if it is the same for all."""
    depth, height, width = counts
    whole = np.multiply.outer(np.multiply.outer(depth, height), width).reshape(-1)
    return tuple(float(n) for n in (whole[:1] if (whole == whole[0]).all() else whole))


def _whole(call: Call, y: Value) -> Activation:
    return Activation(reshaped(call, y, call.row_shape(), "volume"))


RULES: Rules = {
    "_adaptive_avg_pool3d": adaptive_average_pool3d,
    "adaptive_avg_pool3d": adaptive_average_pool3d,
    "adaptive_max_pool3d": adaptive_max_pool3d,
    "avg_pool3d": average_pool3d,
    "max_pool3d": max_pool3d,
    "max_pool3d_with_indices": max_pool3d_with_indices,
}
