"""Padding, nearest upsampling, and shuffles of channels and pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.images import Padded
from qbnnc.frontend.convert.ops.element_moves import moved
from qbnnc.frontend.convert.ops.shapes import reshaped, transposed
from qbnnc.frontend.convert.tracked import (
    Activation,
    Tracked,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Slice, UpsampleNearest


def pad(call: Call) -> Tracked:
    """Zeros around the last two axes; a convolution that follows takes them as its padding.

    Padding of other axes moves elements, and so does padding by reflection, replication or
    wrapping around.
    """
    amounts = list(cast("Sequence[int]", call.arguments["pad"]))
    zeros, value = call.arguments.get("mode", "constant") == "constant", call.arguments.get("value")
    if zeros and value not in (None, 0):
        call.fail(f"pads with {value}", "only zeros, or the elements themselves, are supported")
    x = call.row("self")
    if not zeros or len(amounts) > 4 or len(x.type.shape) < 2:
        return moved(call)
    left, right, top, bottom = amounts + [0] * (4 - len(amounts))
    if min(amounts, default=0) < 0:
        x = _cropped(call, x, [(-top, -bottom), (-left, -right)])
    left, right, top, bottom = (max(n, 0) for n in (left, right, top, bottom))
    return Padded(x, (top, left, bottom, right), call.place())


def _cropped(call: Call, x: Value, cuts: list[tuple[int, int]]) -> Value:
    """x without (before, after) elements of the last two axes; negative counts cut nothing."""
    rank = len(x.type.shape)
    for axis, (before, after) in zip((rank - 2, rank - 1), cuts, strict=True):
        start, stop = max(before, 0), x.type.shape[axis] - max(after, 0)
        if axis >= 0 and (start, stop) != (0, x.type.shape[axis]):
            x = call.emit(Slice(axis, start, stop), x)
    return x


def upsample_nearest(call: Call) -> Activation:
    """Upsampling by whole factors, told by torch's shape of the result; else a move of elements."""
    x, wanted = call.row("input" if "input" in call.arguments else "self"), call.row_shape()
    shape = x.type.shape
    if len(shape) > 3 or any(m % n for m, n in zip(wanted, shape, strict=True)):
        return moved(call)
    if len(shape) == 2:
        x = reshaped(call, x, (shape[0], 1, shape[1]), "image")
    factors = (1, *(m // n for m, n in zip(wanted, shape, strict=True)))[-2:]
    y = call.emit(UpsampleNearest((factors[0], factors[1])), x)
    return Activation(reshaped(call, y, wanted, "sequence"))


def channel_shuffle(call: Call) -> Activation:
    """Move channel g*n + i to i*groups + g."""
    x, groups = call.row("self"), call.integer("groups")
    shape = x.type.shape
    split = reshaped(call, x, (groups, shape[0] // groups, *shape[1:]), "groups")
    return Activation(reshaped(call, transposed(call, split, 1, 0), shape))


def pixel_shuffle(call: Call) -> Activation:
    """[C*r*r, H, W] to [C, H*r, W*r]."""
    x, r = call.row("self"), call.integer("upscale_factor")
    channels, height, width = x.type.shape
    split = reshaped(call, x, (channels // r**2, r, r, height, width), "blocks")
    return Activation(reshaped(call, transposed(call, split, 0, 3, 1, 4, 2), call.row_shape()))


def pixel_unshuffle(call: Call) -> Activation:
    """[C, H*r, W*r] to [C*r*r, H, W]."""
    x, r = call.row("self"), call.integer("downscale_factor")
    channels, height, width = x.type.shape
    split = reshaped(call, x, (channels, height // r, r, width // r, r), "blocks")
    return Activation(reshaped(call, transposed(call, split, 0, 2, 4, 1, 3), call.row_shape()))


RULES: Rules = {
    "_upsample_nearest_exact1d": upsample_nearest,
    "_upsample_nearest_exact2d": upsample_nearest,
    "_upsample_nearest_exact3d": upsample_nearest,
    "channel_shuffle": channel_shuffle,
    "constant_pad_nd": pad,
    "native_channel_shuffle": channel_shuffle,
    "pad": pad,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "upsample_nearest1d": upsample_nearest,
    "upsample_nearest2d": upsample_nearest,
    "upsample_nearest3d": upsample_nearest,
}
