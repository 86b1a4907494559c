"""Linear layers, in every spelling aten has for them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from torch import Tensor

from qbnnc.frontend.convert.call import Call, Rules
from qbnnc.frontend.convert.sampled_weights.flipout import perturbed
from qbnnc.frontend.convert.sampled_weights.weights import Weight
from qbnnc.frontend.convert.tracked import Activation, Flipped, Product, Tracked
from qbnnc.frontend.program.locations import Place
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2d, Linear, Op, Reshape, Transpose

if TYPE_CHECKING:
    from qbnnc.frontend.convert.context import Context


def linear(call: Call) -> Tracked:
    """A layer over the last axis; without a bias a product, to which one may still be added."""
    weight, bias = call.weight("weight"), call.weight_or_none("bias")
    x = call.tracked("input")
    if isinstance(x, Flipped) and (made := perturbed(call, Linear(), x, weight, bias)) is not None:
        return made
    value = call.row("input")
    if weight.mu.ndim != 2:
        call.fail(f"has a weight of shape {list(weight.shape)}", "give it one of [outputs, inputs]")
    if bias is None:
        return Product(value, weight, call.place())
    return Activation(dense(call.context, call.place(), value, weight, bias))


def addmm(call: Call) -> Activation:
    """beta * self + alpha * (mat1 @ mat2)."""
    weight = call.weight("mat2").moved(Tensor.t).scaled(call.number("alpha"))
    bias = call.weight("self").scaled(call.number("beta"))
    bias = bias.moved(lambda b: b.expand(weight.shape[0]))
    return Activation(dense(call.context, call.place(), call.row("mat1"), weight, bias))


def dense(context: Context, place: Place, x: Value, weight: Weight, bias: Weight | None) -> Value:
    """x @ weight.T + bias over the last axis of x; weight [N, K].

    If x has more axes, its positions T lie along an image [1, T, K]. A convolution with N kernels
    of [1, K] gives [N, T, 1], so that weights are drawn once for all positions.
    """
    *outer, features = x.type.shape
    if not outer:
        return context.layer(place, Linear(), x, weight, bias)
    positions, outputs = prod(outer), weight.shape[0]
    kernels = weight.moved(lambda w: w.reshape(outputs, 1, 1, features))
    image = _reshaped(context, place, x, (1, positions, features), "positions")
    y = context.layer(place, Conv2d(), image, kernels, bias)
    turned = _emit(context, place, Transpose((2, 1, 0)), y, suffix=".turned")
    return _reshaped(context, place, turned, (*outer, outputs), "features")


def _reshaped(
    context: Context, place: Place, x: Value, shape: tuple[int, ...], suffix: str
) -> Value:
    if x.type.shape == shape:
        return x
    return _emit(context, place, Reshape(shape), x, suffix=f".{suffix}")


def _emit(context: Context, place: Place, op: Op, *inputs: Value, suffix: str = "") -> Value:
    name = f"{place.name}{suffix}"
    return context.build.emit(op, *inputs, loc=place.loc, name=name)


RULES: Rules = {
    "addmm": addmm,
    "linear": linear,
}
