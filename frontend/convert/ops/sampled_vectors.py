"""Drawn tensors that scale or shift activations, shared by the batch: sampled, or chosen.

The axes along which the tensor varies become channels. Each channel is multiplied by one weight
and shifted by one bias, in a convolution with as many groups. A bias of a layer's outputs joins the
layer, however it is shaped.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.ops.shapes import reshaped, step
from qbnnc.frontend.convert.sampled_weights.noise_values import sources
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Activation, Noise, Tracked
from qbnnc.frontend.program.random_ops import NORMALS, op_name
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Contraction, Conv2d, Reshape, Transpose


def is_shared(call: Call, noise: Tracked) -> bool:
    """Whether this is Gaussian noise of a known shape that all rows of the batch share."""
    if not isinstance(noise, Noise) or noise.why_no_mask is not None:
        return False
    shape = noise.shape
    rank = len(call.shape())
    drawn = [each.meta["val"] for each in sources(noise)]
    known = all(isinstance(n, int) for n in (*shape, *(each.numel() for each in drawn)))
    for_rows = len(shape) == rank and shape[0] != 1
    return known and not for_rows and all(op_name(each) in NORMALS for each in sources(noise))


def scaled(call: Call, x: Value, noise: Noise) -> Activation:
    """x * noise."""
    factor = _for_row(call, call.probed(noise, "weight"), x)
    return Activation(channelwise(call, x, factor, None))


def shifted(call: Call, x: Value, noise: Noise, *, of_x: float, of_noise: float) -> Activation:
    """of_x * x + of_noise * noise."""
    shift = _for_row(call, call.probed(noise, "bias").scaled(of_noise), x)
    return Activation(plus(call, x, shift, of_x))


def plus(call: Call, x: Value, shift: Weight, of_x: float = 1.0) -> Value:
    """of_x * x + shift, a tensor of the row's rank; the bias of the layer before if it can be."""
    if of_x == 1 and (layer := _with_bias(call, x, shift)) is not None:
        return layer
    return channelwise(call, x, Weight(torch.full(shift.shape, of_x)), shift)


def _for_row(call: Call, tensor: Weight, x: Value) -> Weight:
    """The tensor with the axes of a row; CompileError if it is larger than the row."""
    rank = len(x.type.shape)
    if call.row_shape() != x.type.shape:
        call.fail(
            f"combines a random tensor of shape {list(tensor.shape)} with smaller rows of shape "
            f"{list(x.type.shape)}",
            "expand the activations before",
        )
    shape = tensor.shape[1:] if len(tensor.shape) > rank else tensor.shape
    wanted = (1,) * (rank - len(shape)) + tuple(shape)
    return tensor.moved(lambda t: t.reshape(wanted))


def _with_bias(call: Call, x: Value, shift: Weight) -> Value | None:
    """The layer that makes x, with `shift` added to its constant bias; None if no layer does."""
    build, weights = call.context.build, call.context.weights
    layer = build.producer(x)
    if layer is not None and isinstance(layer.op, Reshape) and len(x.type.shape) == 1:
        layer = build.producer(layer.inputs[0])  # a vector is scaled as an image
    if (
        layer is None
        or layer.output.type.size != x.type.size
        or not isinstance(layer.op, Contraction)
        or shift.more
        or shift.mask is not None
    ):
        return None
    bias = build.array(layer.inputs[2])
    if bias is None or any(n != 1 for n in shift.shape[1:]):
        return None
    if shift.sampling is not None and len(list(weights.divided(shift.sampling))) > 1:
        return None
    own = shift.moved(lambda t: t.reshape(-1).expand(len(bias)))
    value = weights.bias(call.place(), own.shifted(torch.from_numpy(bias)))
    return reshaped(call, call.emit(layer.op, *layer.inputs[:2], value), x.type.shape, "rows")


def channelwise(call: Call, x: Value, factor: Weight, shift: Weight | None) -> Value:
    """x * factor + shift, tensors of the row's rank."""
    shape = x.type.shape
    axes = [axis for axis, extent in enumerate(factor.shape) if extent > 1]
    order = (*axes, *(axis for axis in range(len(shape)) if axis not in axes))
    channels = prod(shape[axis] for axis in axes)
    turned = tuple(shape[axis] for axis in order)
    y = x if order == tuple(range(len(shape))) else step(call, "turned", Transpose(order), x)
    image = shape if axes == [0] and len(shape) == 3 else (channels, 1, prod(shape) // channels)
    y = reshaped(call, y, image, "channels")

    def of_channel(tensor: Tensor) -> Tensor:
        return tensor.permute(order).reshape(channels, 1, 1, 1)

    kernels = factor.moved(of_channel)
    bias = None if shift is None else shift.moved(lambda t: of_channel(t).reshape(channels))
    y = call.layer(Conv2d(groups=channels), y, kernels, bias)
    y = reshaped(call, y, turned, "rows")
    back = tuple(order.index(axis) for axis in range(len(shape)))
    return y if back == tuple(range(len(shape))) else step(call, "back", Transpose(back), y)
