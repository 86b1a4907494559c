"""Normalisation of each row by its own statistics: layer, group, instance and RMS norm.

x is laid out as [groups, elements], and each group is normalised by itself:

    centred = x - mean(x)
    y = centred * (mean(centred^2) + eps)^(-1/2) * weight + bias

RMS norm takes x itself for `centred`. Ba et al. 2016 (layer), Wu and He 2018 (group), Ulyanov et
al. 2016 (instance), Zhang and Sennrich 2019 (RMS).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import cast

import numpy as np
import torch

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.affine import affine, negated
from qbnnc.frontend.convert.ops.elementwise_formulas import computed
from qbnnc.frontend.convert.ops.reductions import averaged
from qbnnc.frontend.convert.ops.shapes import broadcast, reshaped, step
from qbnnc.frontend.convert.tracked import Activation
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Add, Function, Linear, Multiply

_Pair = tuple[int, int]


def layer_norm(call: Call) -> Activation:
    """Normalise over the last axes; weight and bias have one number for each element of them."""
    x, eps = call.row("input"), call.number("eps")
    laid = _last_axes(call, x)
    centred = _centred_layer(call, x) if laid[1] == x.type.shape[-1] else None
    y = _normalised(call, x if centred is None else centred, laid, eps, centre=centred is None)
    return _scaled(call, x, y, 0)


def whole_layer_norm(call: Call) -> tuple[Activation, ...]:
    """native_layer_norm, whose other results only training reads."""
    return (layer_norm(call),)


def group_norm(call: Call) -> Activation:
    """Normalise groups of channels; weight and bias have one number for each channel."""
    x = call.row("input")
    groups = call.integer("num_groups" if "num_groups" in call.arguments else "group")
    laid = (groups, prod(x.type.shape) // groups)
    y = _normalised(call, x, laid, call.number("eps"))
    return _scaled(call, x, y, len(x.type.shape) - 1)


def whole_group_norm(call: Call) -> tuple[Activation, ...]:
    return (group_norm(call),)


def instance_norm(call: Call) -> Activation:
    """Normalise each channel by itself, or by fixed statistics."""
    x = call.row("input")
    behind = len(x.type.shape) - 1
    if call.flag("use_input_stats"):
        laid = (x.type.shape[0], prod(x.type.shape[1:]))
        return _scaled(call, x, _normalised(call, x, laid, call.number("eps")), behind)
    mean = call.fixed("running_mean").to(torch.float64).reshape(-1, *[1] * behind)
    variance = call.fixed("running_var").to(torch.float64).reshape(-1, *[1] * behind)
    scale = (variance + call.number("eps")).rsqrt()
    y = affine(call, Activation(x), scale=scale, shift=-mean * scale)
    return _scaled(call, x, y.value, behind)


def rms_norm(call: Call) -> Activation:
    """Divide by the root of the mean square over the last axes; eps None is float32's own."""
    x = call.row("input")
    eps = call.number("eps", float(torch.finfo(torch.float32).eps))
    return _scaled(call, x, _normalised(call, x, _last_axes(call, x), eps, centre=False), 0)


def _last_axes(call: Call, x: Value) -> _Pair:
    count = prod(cast("Sequence[int]", call.arguments["normalized_shape"]))
    return prod(x.type.shape) // count, count


def _centred_layer(call: Call, x: Value) -> Value | None:
    """x minus its mean over the last axis, if a linear layer with fixed weights gives x.

    The means of the weights and biases over the outputs are taken from them. So x is not rounded
    before its mean is taken, and nothing else computes the mean.
    """
    node = call.context.build.producer(x)
    if node is None or not isinstance(node.op, Linear):
        return None
    weight, bias = (call.context.build.array(value) for value in node.inputs[1:])
    if weight is None or bias is None:
        return None
    name = f"{call.place().name}.centred"
    constants = (
        call.context.constant(f"{name}.{what}", torch.from_numpy(array - array.mean(0)))
        for what, array in (
            ("weight", weight.astype(np.float64)),
            ("bias", bias.astype(np.float64)),
        )
    )
    return call.context.build.emit(node.op, node.inputs[0], *constants, loc=node.loc, name=name)


def _normalised(call: Call, x: Value, laid: _Pair, eps: float, *, centre: bool = True) -> Value:
    """x as [groups, elements], each group normalised."""
    lines = reshaped(call, x, laid, "groups")
    if centre:
        mean = averaged(call, lines, (1,), keep=True)
        minus = broadcast(call, negated(call, mean, "minus"), laid)
        lines = step(call, "centred", Add(), lines, minus)
    squares = step(call, "squares", Multiply(), lines, lines)
    variance = averaged(call, squares, (1,), keep=True)
    inverse = computed(call, variance, lambda v: (v + eps).of(Function.POW, -0.5))
    return step(call, "normalised", Multiply(), lines, inverse.value)


def _scaled(call: Call, x: Value, y: Value, behind: int) -> Activation:
    """y in the shape of x, times the weight, plus the bias; they have `behind` axes of 1 more."""
    whole = Activation(reshaped(call, y, x.type.shape, "whole"))
    weight = call.fixed_or_none("weight")
    bias = call.fixed_or_none("bias") if "bias" in call.arguments else None
    scale, shift = (
        torch.tensor(neutral, dtype=torch.float64)
        if given is None
        else given.to(torch.float64).reshape(*given.shape, *[1] * behind)
        for given, neutral in ((weight, 1.0), (bias, 0.0))
    )
    return (
        whole if weight is None and bias is None else affine(call, whole, scale=scale, shift=shift)
    )


RULES: Rules = {
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "native_group_norm": whole_group_norm,
    "native_layer_norm": whole_layer_norm,
    "rms_norm": rms_norm,
}
