"""Ops in which the input has no part: computed now, or kept for when the noise is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.call import Call
from qbnnc.frontend.convert.drawn import Shape
from qbnnc.frontend.convert.values import (
    Activation,
    Blend,
    Fixed,
    Keep,
    Noise,
    Result,
    Tracked,
    Uniform,
)
from qbnnc.frontend.randomness import is_seeded
from qbnnc.support.errors import CompileError

_MAX_FOLDED = 1 << 28  # elements: a hostile program could ask for any number


def tracked_among(arguments: Mapping[str, object]) -> Iterator[Tracked]:
    for value in arguments.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Tracked):
                yield item


def is_noise(node: fx.Node, inputs: list[Tracked]) -> bool:
    """Drawn, or computed from noise, without the input having a part in it."""
    noisy = is_seeded(node) or any(isinstance(each, Noise) for each in inputs)
    return noisy and not any(isinstance(each, Activation) for each in inputs)


def is_mask(inputs: list[Tracked]) -> bool:
    """Computed from masks or uniform noise, without the input having a part in it."""
    random = any(isinstance(each, Keep | Blend | Uniform) for each in inputs)
    return random and not any(isinstance(each, Activation) for each in inputs)


def noise_of(call: Call, refused: CompileError | None = None) -> Noise:
    """What is drawn, or computed from noise; `refused` is why it is no mask."""
    _sized(call)
    if is_seeded(call.node):
        return Noise(call.node, None, call.arguments)
    target = cast(torch._ops.OpOverload, call.node.target)
    noisy = (each for each in tracked_among(call.arguments) if isinstance(each, Noise))
    refused = refused or next((each.refused for each in noisy if each.refused), None)
    return Noise(call.node, target, call.arguments, refused)


def folded(call: Call) -> Result:
    """An op on weights alone, computed now."""
    if not all(isinstance(extent, int) for extent in _sized(call)):
        call.fail("makes a tensor of the batch's size from weights", "let it broadcast instead")
    target = cast(torch._ops.OpOverload, call.node.target)
    with torch.no_grad():
        result = target(**{name: _plain(value) for name, value in call.arguments.items()})
    if isinstance(result, bool | int | float):
        return Fixed(torch.tensor(result))
    return Fixed(result) if isinstance(result, Tensor) else tuple(map(Fixed, result))


def _sized(call: Call) -> Shape:
    """The result's shape; CompileError if it is larger than any model's."""
    shape = call.shape() if isinstance(call.node.meta["val"], Tensor) else ()
    if prod(extent for extent in shape if isinstance(extent, int)) > _MAX_FOLDED:
        call.fail(f"makes a constant of shape {list(shape)}", "that is more than a model may hold")
    return shape


def _plain(value: object) -> object:
    match value:
        case Fixed(tensor):
            return tensor
        case list():
            return [_plain(item) for item in value]
        case _:
            return value
