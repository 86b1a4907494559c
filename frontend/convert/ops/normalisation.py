"""Normalisation of each row by its own statistics: layer, group, instance and RMS norm.

Ba et al. 2016 (layer), Wu and He 2018 (group), Ulyanov et al. 2016 (instance), Zhang and Sennrich
2019 (RMS). Each is one `Normalize` over the last axes of x, or of a view of x. Weights and biases
that are drawn scale and shift what it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import cast

import torch
from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.ops.affine import affine
from qbnnc.frontend.convert.ops.arithmetic import operand, product, summed
from qbnnc.frontend.convert.ops.shapes import placed, reshaped, step
from qbnnc.frontend.convert.tracked import (
    Activation,
    Chosen,
    Constant,
    Filled,
    Noise,
    Tracked,
    Transposed,
)
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Normalize

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """The view of x that is normalised over its last `axes` axes.

    `parameters` is the shape of weight and bias beside it.
    """

    shape: Shape
    axes: int
    parameters: Shape


def layer_norm(call: Call) -> Tracked:
    """Normalise over the last axes; weight and bias have one number for each element of them."""
    return _over_last_axes(call, call.number("eps"))


def whole_layer_norm(call: Call) -> tuple[Tracked, ...]:
    """native_layer_norm, whose other results only training reads."""
    return (layer_norm(call),)


def rms_norm(call: Call) -> Tracked:
    """Divide by the root of the mean square over the last axes; eps None is float32's own."""
    eps = call.number("eps", float(torch.finfo(torch.float32).eps))
    return _over_last_axes(call, eps, centred=False)


def whole_rms_norm(call: Call) -> tuple[Tracked, ...]:
    """_fused_rms_norm, whose other result only training reads."""
    return (rms_norm(call),)


def group_norm(call: Call) -> Tracked:
    """Normalise groups of channels; weight and bias have one number for each channel."""
    x = call.row("input")
    groups = call.integer("num_groups" if "num_groups" in call.arguments else "group")
    return _of_channels(call, x, _view_of_groups(x.type.shape, groups))


def whole_group_norm(call: Call) -> tuple[Tracked, ...]:
    return (group_norm(call),)


def instance_norm(call: Call) -> Tracked:
    """Normalise each channel by itself, or by fixed statistics."""
    x = call.row("input")
    behind = len(x.type.shape) - 1
    if call.flag("use_input_stats"):
        return _of_channels(call, x, _view_of_groups(x.type.shape, x.type.shape[0]))
    mean = call.fixed("running_mean").to(torch.float64).reshape(-1, *[1] * behind)
    variance = call.fixed("running_var").to(torch.float64).reshape(-1, *[1] * behind)
    scale = (variance + call.number("eps")).rsqrt()
    weight, bias = (
        neutral if given is None else given.to(torch.float64).reshape(-1, *[1] * behind)
        for given, neutral in (
            (call.fixed_or_none("weight"), torch.ones_like(scale)),
            (call.fixed_or_none("bias"), torch.zeros_like(scale)),
        )
    )
    return affine(call, Activation(x), scale=scale * weight, shift=bias - mean * scale * weight)


def _over_last_axes(call: Call, eps: float, *, centred: bool = True) -> Tracked:
    """A norm whose weight and bias broadcast as torch broadcasts them, drawn or not."""
    axes = len(cast("Sequence[int]", call.arguments["normalized_shape"]))
    x, batch = _laid(call, axes)
    shape = x.type.shape
    view = _View(shape, axes, (1,) * (len(shape) - axes) + shape[len(shape) - axes :])
    weight, bias = (_parameter(call, name) for name in ("weight", "bias"))
    fixed = [None if _is_drawn(each) else each for each in (weight, bias)]
    if _is_drawn(weight):
        fixed[1] = None
    last = not _is_drawn(weight) and not _is_drawn(bias)
    y = _normalised(call, x, view, eps, *fixed, centred=centred, last=last)
    if last:
        return placed(call, y, batch)
    if batch:
        call.fail("has drawn parameters, and the batch is not the first axis", "move it there")
    drawn: Tracked = Activation(y)
    if _is_drawn(weight):
        assert weight is not None
        drawn = product(call, drawn, weight)
        return drawn if bias is None else summed(call, drawn, bias, 1.0)
    assert bias is not None
    return summed(call, drawn, bias, 1.0)


def _laid(call: Call, axes: int) -> tuple[Value, int]:
    """x and torch's axis that is the batch, which no norm takes in."""
    match call.tracked("input"):
        case Transposed(value, batch) if batch <= len(value.type.shape) - axes:
            return value, batch
        case _:
            return call.row("input"), 0


def _parameter(call: Call, name: str) -> Tracked | None:
    """The weight or bias; None if the norm has none."""
    if call.arguments.get(name) is None:
        return None
    return operand(call, name)


def _is_drawn(parameter: Tracked | None) -> bool:
    return isinstance(parameter, Noise | Chosen)


def _of_channels(call: Call, x: Value, view: _View) -> Activation:
    """A norm whose weight and bias [C] are fixed; CompileError, saying what compiles, if not."""
    if any(_is_drawn(_parameter(call, name)) for name in ("weight", "bias")):
        call.fail(
            "has a random weight or bias, with a number for each channel",
            "normalise without them (affine=False), and write y * weight[:, None, None] + "
            "bias[:, None, None] for images",
        )
    weight, bias = (
        None if tensor is None else Constant(tensor.to(torch.float64))
        for tensor in (call.fixed_or_none("weight"), call.fixed_or_none("bias"))
    )
    return Activation(_normalised(call, x, view, call.number("eps"), weight, bias))


def _view_of_groups(shape: Shape, groups: int) -> _View:
    """Groups of channels as an axis in front of the others.

    A view of four axes has the order of memory that x has, but for images.
    """
    channels, behind = shape[0], shape[1:]
    if groups == channels and behind:
        return _View(shape, len(behind), (channels, *[1] * len(behind)))
    if groups == 1:
        return _View(shape, len(shape), (channels, *[1] * len(behind)))
    each = channels // groups
    if not behind:
        return _View((groups, each), 1, (groups, each))
    rest = (1, *behind) if len(behind) == 1 else (behind[0], prod(behind[1:]))
    return _View((groups, each, *rest), 3, (groups, each, 1, 1))


def _normalised(
    call: Call,
    x: Value,
    view: _View,
    eps: float,
    weight: Tracked | None = None,
    bias: Tracked | None = None,
    *,
    centred: bool = True,
    last: bool = True,
) -> Value:
    """x normalised; `last` says that this is all that the call does."""
    constants = (
        call.constant(what, _beside(call, given, neutral, view))
        for what, given, neutral in (("weight", weight, 1.0), ("bias", bias, 0.0))
    )
    laid, whole = reshaped(call, x, view.shape, "groups"), view.shape == x.type.shape
    op = Normalize(view.axes, eps, centred)
    if last and whole:
        return call.emit(op, laid, *constants)
    y = step(call, "normalised", op, laid, *constants)
    return reshaped(call, y, x.type.shape, "" if last else "whole")


def _beside(call: Call, given: Tracked | None, neutral: float, view: _View) -> Tensor:
    """The weight or bias in the shape that it has beside x; one number where it has none."""
    match given:
        case None:
            return torch.full([1] * len(view.shape), neutral, dtype=torch.float64)
        case Constant(tensor) if tensor.numel() == prod(view.parameters):
            return tensor.reshape(view.parameters)
        case Filled(_, float() as number):
            return torch.full([1] * len(view.shape), number, dtype=torch.float64)
    return call.fail("has a weight or bias that depends on the input", "use constants")


RULES: Rules = {
    "_fused_rms_norm": whole_rms_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "native_group_norm": whole_group_norm,
    "native_layer_norm": whole_layer_norm,
    "rms_norm": rms_norm,
}
