"""Convolutions over depth, height and width, as one convolution over an image.

The planes that a window meets along the depth become channels, tap by tap. The depths of the result
lie one below the other in one tall image. Zeros between them keep windows of one depth out of the
next, and rows of windows that meet two depths are left out. So the weight is stored once, and
neither code nor constants grow with the depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ops.element_moves import taken
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Concat, Conv2d, Pad, Slice

Three = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows over [.., D, H, W]: numbers for depth, height and width.

    `before` and `after` are the zeros on both sides; negative ones cut elements off.
    """

    kernel: Three
    stride: Three
    before: Three
    after: Three
    dilation: Three = (1, 1, 1)

    def extents(self, volume: Sequence[int]) -> Three:
        """The extents [D', H', W'] of the result for those of x."""
        ends = [
            n + before + after - dilation * (taps - 1) - 1
            for n, before, after, dilation, taps in zip(
                volume, self.before, self.after, self.dilation, self.kernel, strict=True
            )
        ]
        return triple(end // stride + 1 for end, stride in zip(ends, self.stride, strict=True))


def triple(numbers: object) -> Three:
    """Three integers as a tuple."""
    depth, height, width = cast("Sequence[int]", tuple(cast("Sequence[int]", numbers)))
    return depth, height, width


def three(call: Call, name: str, default: Three | None = None) -> Three:
    """An argument that is one integer, or three, or none (the default)."""
    value = call.arguments[name]
    values = [value] if isinstance(value, int) else list(cast("Sequence[int]", value))
    if not values and default is not None:
        return default
    if len(values) not in (1, 3) or not all(isinstance(v, int) for v in values):
        call.fail(f"its {name} {values} is not one or three integers")
    return triple(values * 3 if len(values) == 1 else values)


def volume(call: Call, name: str) -> Value:
    """An argument whose rows are [C, D, H, W]."""
    x = call.row(name)
    if len(x.type.shape) != 4:
        call.fail(
            f"takes rows of shape {list(x.type.shape)}", "only [channels, depth, height, width]"
        )
    return x


def convolved(
    call: Call, x: Value, weight: Weight, bias: Weight | None, windows: Windows, groups: int
) -> Value:
    """x [C, D, H, W] convolved with the weight [O, C/groups, kd, kh, kw]."""
    x, windows = _cut(call, x, windows)
    if windows.kernel[1:] == (1, 1) and not any((*windows.before[1:], *windows.after[1:])):
        return _along_depth(call, x, weight, bias, windows, groups)
    depth, height, width = windows.extents(x.type.shape[1:])
    planes, pitch = _planes(call, x, windows, groups)
    y = _tall(call, planes, weight, bias, windows, groups, (depth * pitch, x.type.shape[3]))
    rows, outputs = pitch // windows.stride[1], weight.shape[0]
    if y.type.shape[1] > depth * rows:
        y = step(call, "rows", Slice(1, 0, depth * rows), y)
    y = reshaped(call, y, (outputs, depth, rows * width), "depths")
    if rows > height:
        y = step(call, "inside", Slice(2, 0, height * width), y)
    return reshaped(call, y, (outputs, depth, height, width), "volume")


def _cut(call: Call, x: Value, windows: Windows) -> tuple[Value, Windows]:
    """x without what negative zeros cut off, and the windows with none."""
    for axis, (low, high) in enumerate(zip(windows.before, windows.after, strict=True), start=1):
        if low < 0 or high < 0:
            crop = Slice(axis, max(-low, 0), x.type.shape[axis] - max(-high, 0))
            x = step(call, "crop", crop, x)
    before, after = (triple(max(n, 0) for n in each) for each in (windows.before, windows.after))
    return x, replace(windows, before=before, after=after)


def _along_depth(
    call: Call, x: Value, weight: Weight, bias: Weight | None, windows: Windows, groups: int
) -> Value:
    """Windows one high and wide: an image [C, D, H*W] with a kernel one wide."""
    for axis, stride in zip((2, 3), windows.stride[1:], strict=True):
        if stride > 1:
            x = step(call, "strided", Slice(axis, 0, x.type.shape[axis], stride), x)
    channels, depth, height, width = x.type.shape
    image = reshaped(call, x, (channels, depth, height * width), "image")
    padding = (windows.before[0], 0, windows.after[0], 0)
    op = Conv2d((windows.stride[0], 1), padding, (windows.dilation[0], 1), groups)
    y = call.layer(op, image, weight.moved(lambda w: w.flatten(3)), bias)
    return reshaped(call, y, (*y.type.shape[:2], height, width), "volume")


def _planes(call: Call, x: Value, windows: Windows, groups: int) -> tuple[Value, int]:
    """[taps*C, D', pitch*W], the planes that each tap of the depth meets; and the pitch.

    It is the number of rows from one depth to the next. The zeros below one depth are those above
    the next.
    """
    channels, depth, height, width = x.type.shape
    down, around = windows.stride[1], max(windows.before[1], windows.after[1])
    count, rows, _ = windows.extents(x.type.shape[1:])
    pitch = max(-(-(height + around) // down), rows) * down
    x = reshaped(call, x, (channels, depth, height * width), "planes")
    zeros = (windows.before[0], 0, windows.after[0], (pitch - height) * width)
    if any(zeros):
        x = step(call, "padded", Pad(zeros), x)
    parts = list[Value]()
    for tap in range(windows.kernel[0]):
        first, stride = tap * windows.dilation[0], windows.stride[0]
        cut = Slice(1, first, first + (count - 1) * stride + 1, stride)
        whole = (first, count) == (0, x.type.shape[1])
        parts.append(x if whole else step(call, "tap", cut, x))
    if len(parts) == 1:
        return parts[0], pitch
    joined = step(call, "taps", Concat(0), *parts)
    numbers = np.arange(len(parts) * channels).reshape(len(parts), groups, -1)
    return taken(call, joined, 0, numbers.transpose(1, 0, 2).reshape(-1)), pitch


def _tall(
    call: Call,
    planes: Value,
    weight: Weight,
    bias: Weight | None,
    windows: Windows,
    groups: int,
    image: tuple[int, int],
) -> Value:
    """The convolution over all depths: a row for each stride of the pitch, and perhaps more."""
    (_, down, across), (_, top, left) = windows.stride, windows.before
    reach = (windows.kernel[1] - 1) * windows.dilation[1] + 1
    padding = (top, left, max(0, reach - down - top), windows.after[2])
    op = Conv2d((down, across), padding, windows.dilation[1:], groups)
    x = reshaped(call, planes, (planes.type.shape[0], *image), "image")
    return call.layer(op, x, weight.moved(lambda w: w.transpose(1, 2).flatten(1, 2)), bias)
