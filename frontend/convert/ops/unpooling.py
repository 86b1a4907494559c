"""Max unpooling: values put back at the places that a max pool took its maxima from."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.images import Places
from qbnnc.frontend.convert.ops.element_moves import taken
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.tracked import Activation
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import MaxUnpool, Slice, Transpose


def max_unpool(call: Call) -> Activation:
    places = call.arguments["indices"]
    if not isinstance(places, Places):
        call.fail(
            "puts values at places that are not the indices of a max pool",
            "use those that F.max_pool2d(x, k, return_indices=True) gives, as they are",
        )
    if not places.apart:
        call.fail(
            "puts values where a max pool took them from whose windows overlap, leave gaps, or "
            "reach over the edge, which is not supported",
            "use a max pool whose stride is its kernel, without padding and dilation, or nearest "
            "upsampling",
        )
    x, v, wanted = places.x, call.row("self"), call.row_shape()
    channels, *extents = x.type.shape
    pooled = places.pooled
    if v.type.size != channels * prod(pooled):
        call.fail(
            f"puts {list(v.type.shape)} values where {[channels, *pooled]} were taken from",
            "give it a tensor of the shape of what the max pool gives",
        )
    windows = [n * k for n, k in zip(pooled, places.kernel, strict=True)]
    _check_rows(call, windows, extents, wanted)
    for axis, (n, whole) in enumerate(zip(windows, extents, strict=True), start=1):
        if n < whole:
            x = step(call, "inside", Slice(axis, 0, n), x)
    y = _put(call, v, x, places.kernel, pooled)
    for axis, (n, whole) in enumerate(zip(windows, extents, strict=True), start=1):
        y = _longer(call, y, axis, whole - n)
    y = reshaped(call, y, (channels, prod(extents)), "lines")
    count = prod(wanted) // channels
    y = _longer(call, y, 1, count - prod(extents))
    if count < prod(extents):
        y = step(call, "cut", Slice(1, 0, count), y)
    return Activation(reshaped(call, y, wanted, "whole"))


def _check_rows(
    call: Call, windows: list[int], extents: list[int], wanted: tuple[int, ...]
) -> None:
    """CompileError where numbers of places mean other places in the result than in x.

    They count elements in row-major order: extents may differ along the first axis alone.
    """
    result = list(wanted if len(wanted) == len(extents) else wanted[1:])
    own, found = ([n for n in each if n != 1] for each in (extents, result))
    last = int(np.ravel_multi_index([n - 1 for n in windows], extents))
    if own[1:] != found[1:] or prod(result) <= last:
        call.fail(
            f"gives {result}, of other rows than the pooled image of {extents}, so that torch puts "
            "values at other places than those of the maxima",
            "give it output_size=x.size(), x being what the max pool takes",
        )


def _longer(call: Call, y: Value, axis: int, more: int) -> Value:
    """y with `more` zeros behind its last element along an axis of the shape."""
    if more <= 0:
        return y
    return taken(call, y, axis, np.append(np.arange(y.type.shape[axis]), np.full(more, -1)))


def _put(call: Call, v: Value, x: Value, kernel: tuple[int, ...], pooled: tuple[int, ...]) -> Value:
    """v at the maxima of x [C, ...], whose windows lie side by side."""
    channels = x.type.shape[0]
    if len(kernel) == 2:
        return call.emit(
            MaxUnpool((kernel[0], kernel[1])), reshaped(call, v, (channels, *pooled), "values"), x
        )
    (depth, height, width), (deep, down, across) = pooled, kernel
    layers = (channels, depth, deep, height, down, width * across)
    rows = (channels * depth * height, deep * down, width, across)
    split = step(call, "turned", Transpose((0, 1, 3, 2, 4, 5)), reshaped(call, x, layers, "layers"))
    split = step(call, "turned", Transpose((0, 2, 1, 3)), reshaped(call, split, rows, "rows"))
    count = depth * height * width
    image = reshaped(call, split, (channels, count, prod(kernel)), "windows")
    values = reshaped(call, v, (channels, count, 1), "values")
    y = call.emit(MaxUnpool((1, prod(kernel))), values, image)
    apart = reshaped(call, y, (rows[0], width, deep * down, across), "apart")
    y = step(call, "back", Transpose((0, 2, 1, 3)), apart)
    apart = reshaped(call, y, (channels, depth, height, deep, down, layers[-1]), "apart")
    y = step(call, "back", Transpose((0, 1, 3, 2, 4, 5)), apart)
    return reshaped(call, y, x.type.shape, "volume")


RULES: Rules = {"max_unpool2d": max_unpool, "max_unpool3d": max_unpool}
