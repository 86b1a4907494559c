"""Linear layers over the last axis of any rank: [B, .., F] is the same layer at each position."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from qbnnc.frontend.convert.parameters import Weight
from qbnnc.frontend.convert.values import Place
from qbnnc.ir.graph import Value
from qbnnc.ir.ops import Conv2d, Linear, Op, Reshape, Transpose

if TYPE_CHECKING:
    from qbnnc.frontend.convert.scope import Scope


def dense(scope: Scope, place: Place, x: Value, weight: Weight, bias: Weight | None) -> Value:
    """x @ weight.T + bias over the last axis of x; weight [N, K].

    With more axes than one the positions T lie along an image [1, T, K], over which a convolution
    with N kernels of [1, K] gives [N, T, 1]: the same weights, drawn once, at every position.
    """
    *outer, features = x.type.shape
    if not outer:
        return _emit(scope, place, Linear(), x, *scope.parameters(place, weight, bias))
    positions, outputs = prod(outer), weight.shape[0]
    kernels = weight.moved(lambda w: w.reshape(outputs, 1, 1, features))
    image = _reshaped(scope, place, x, (1, positions, features), "positions")
    y = _emit(scope, place, Conv2d(), image, *scope.parameters(place, kernels, bias))
    turned = _emit(scope, place, Transpose((2, 1, 0)), y, suffix=".turned")
    return _reshaped(scope, place, turned, (*outer, outputs), "features")


def _reshaped(scope: Scope, place: Place, x: Value, shape: tuple[int, ...], suffix: str) -> Value:
    if x.type.shape == shape:
        return x
    return _emit(scope, place, Reshape(shape), x, suffix=f".{suffix}")


def _emit(scope: Scope, place: Place, op: Op, *inputs: Value, suffix: str = "") -> Value:
    name = f"{place.name}{suffix}"
    return scope.build.emit(op, *inputs, loc=place.loc, name=name)
