"""Lower a scale and shift that no neighbour can take to a function or a convolution."""

from __future__ import annotations

from math import prod

import numpy as np

from qbnnc.ir.graph import Builder, Graph, Node, Value
from qbnnc.ir.ops import Conv2d, Op, Reshape, Transpose
from qbnnc.passes.affine_values import Scaling
from qbnnc.passes.carry_affine import scaled_elements
from qbnnc.passes.parameters import float32_constant


def is_preprocessing(graph: Graph, affine: Node) -> bool:
    """Whether the input's quantiser can do an Affine.

    The Affine alone reads the input, with positive factors, one or one a channel.
    """
    scaling = Scaling.of(affine, graph.constants)
    alone = affine.inputs[0] is graph.input and graph.only_reader(graph.input) is affine
    return alone and scaling.per_channel and bool((scaling.scale > 0).all())


def lowered(affine: Node, scaling: Scaling, build: Builder) -> Value:
    """The Affine as a function of each element, or as a depthwise 1x1 convolution.

    It is a function if one number scales all elements and one shifts all. In the convolution
    everything that has its own numbers is a channel.
    """
    number = scaling.number
    if number is not None:
        return scaled_elements(affine.inputs[0], number, affine, build)
    shape, axes = scaling.shape, scaling.axes
    if len(shape) == 3 and axes == (0,):
        return _emitted(affine, [_depthwise(shape[0])], scaling, build)
    order = (*axes, *(axis for axis in range(len(shape)) if axis not in axes))
    turned = tuple(shape[axis] for axis in order)
    channels = prod(turned[: len(axes)])
    ops: list[Op] = [Reshape((channels, 1, prod(turned[len(axes) :])))]
    ops += [_depthwise(channels), Reshape(turned)]
    if list(order) != sorted(order):
        ops = [Transpose(order), *ops, Transpose(tuple(int(i) for i in np.argsort(order)))]
    return _emitted(affine, ops, scaling, build)


def _depthwise(channels: int) -> Conv2d:
    return Conv2d(groups=channels)


def _emitted(affine: Node, ops: list[Op], scaling: Scaling, build: Builder) -> Value:
    """The ops one after the other, the last of them under the name of the Affine."""
    value, name = affine.inputs[0], affine.output.name
    for number, op in enumerate(ops, start=1):
        inputs = _parameters(name, scaling, build) if isinstance(op, Conv2d) else ()
        step = name if number == len(ops) else f"{name}.{op.name}"
        value = build.emit(op, value, *inputs, loc=affine.loc, name=step)
    return value


def _parameters(name: str, scaling: Scaling, build: Builder) -> tuple[Value, Value]:
    """Weight and bias of the convolution, channels in the order of the axes that vary."""
    lengths = tuple(scaling.shape[axis] for axis in scaling.axes)
    rest = tuple(axis for axis in range(len(scaling.shape)) if axis not in scaling.axes)
    scale, shift = (
        np.broadcast_to(a.squeeze(rest), lengths).reshape(-1)
        for a in (scaling.scale, scaling.shift)
    )
    weight = float32_constant(f"{name}.weight", scale.reshape(-1, 1, 1, 1), build)
    return weight, float32_constant(f"{name}.bias", shift, build)
