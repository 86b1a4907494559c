"""One number for each channel, drawn for all rows: a depthwise 1x1 convolution."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import torch

from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2d, Reshape

if TYPE_CHECKING:
    from qbnnc.frontend.convert.context import Context


def per_channel(
    context: Context, place: Place, x: Value, scale: Weight | None, shift: Weight | None
) -> Value:
    """x * scale + shift, both [C], with C = axis 0 of x; None is 1 or 0."""
    channels, *rest = x.type.shape
    scale = Weight(torch.ones(channels)) if scale is None else scale
    kernels = scale.moved(lambda w: w.reshape(channels, 1, 1, 1))
    image = _reshaped(context, place.step("image"), x, (channels, 1, prod(rest)))
    y = context.layer(place, Conv2d(groups=channels), image, kernels, shift)
    return _reshaped(context, place.step("back"), y, x.type.shape)


def _reshaped(context: Context, place: Place, x: Value, shape: tuple[int, ...]) -> Value:
    if x.type.shape == shape:
        return x
    return context.build.emit(Reshape(shape), x, loc=place.loc, name=place.name)
