"""Noise, recognised: ops that draw random numbers, and ops that compute from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import fx

from qbnnc.frontend.convert.call import Call, Rules, number_of
from qbnnc.frontend.convert.constant_folding import bounded_shape
from qbnnc.frontend.convert.dropout_masks.drawn_elements import Drawn
from qbnnc.frontend.convert.tracked import (
    Activation,
    AnyActivation,
    Constant,
    DropoutMask,
    Filled,
    MaskSum,
    Noise,
    Tracked,
    Uniform,
    exact,
    tracked_among,
)
from qbnnc.frontend.program.random_ops import is_seeded
from qbnnc.support.errors import CompileError


def is_noise(node: fx.Node, inputs: list[Tracked]) -> bool:
    """Whether an op draws, or computes from noise and not from the input."""
    noisy = is_seeded(node) or any(isinstance(each, Noise) for each in inputs)
    return noisy and not any(isinstance(each, AnyActivation) for each in inputs)


def is_mask(inputs: list[Tracked]) -> bool:
    """Whether an op computes from masks or uniform noise and not from the input."""
    random = any(isinstance(each, DropoutMask | MaskSum | Uniform) for each in inputs)
    return random and not any(isinstance(each, AnyActivation) for each in inputs)


def noise_of(call: Call, why_no_mask: CompileError | None = None) -> Noise:
    """The drawn numbers, or the result of an op on noise; `why_no_mask` tells why it is no mask."""
    bounded_shape(call)
    if is_seeded(call.node):
        return Noise(call.node, None, call.arguments)
    target = cast(torch._ops.OpOverload, call.node.target)
    noisy = (each for each in tracked_among(call.arguments) if isinstance(each, Noise))
    why_no_mask = why_no_mask or next(
        (each.why_no_mask for each in noisy if each.why_no_mask), None
    )
    return Noise(call.node, target, call.arguments, why_no_mask)


def bernoulli(call: Call) -> Tracked:
    """A mask that is 1 with the given probability: a number, or a tensor of one number."""
    if call.arguments.get("p") is not None:
        probability: float | None = call.number("p")
    else:
        probability = _even_number(call)
    if probability is None:
        call.fail("draws with a probability for each element", "only one number is supported")
    return DropoutMask(Drawn(call.node, call.shape()), call.shape(), exact(1.0 - probability))


def _even_number(call: Call) -> float | None:
    match call.tracked("self"):
        case Filled(_, number):
            return number
        case Constant(tensor):
            return number_of(tensor)
        case _:
            return None


def uniform(call: Call) -> Tracked:
    low, high = call.arguments.get("from", 0), call.arguments.get("to", 1)
    if (low, high) != (0, 1):
        return noise(call)
    return Uniform(Drawn(call.node, call.shape()), call.shape())


def noise(call: Call) -> Tracked:
    """The drawn numbers; an activation at once where the mean or deviation is one."""
    drawn = Noise(call.node, None, call.arguments)
    if any(isinstance(call.arguments.get(name), AnyActivation) for name in ("mean", "std")):
        return Activation(call.context.value(drawn, call))
    return drawn


def in_order(noise: Noise) -> Mapping[Noise, None]:
    """The noise and all noise that it is computed from, what comes first first."""
    order, waiting = dict[Noise, None](), [(noise, False)]
    while waiting:
        each, ready = waiting.pop()
        if ready:
            order.setdefault(each)
        elif each not in order:
            inputs = (t for t in tracked_among(each.arguments) if isinstance(t, Noise))
            waiting += [(each, True), *((one, False) for one in inputs)]
    return order


DRAWING_RULES: Rules = {
    "bernoulli": bernoulli,
    "rand": uniform,
    "rand_like": uniform,
    "uniform": uniform,
    **dict.fromkeys(
        "cauchy exponential geometric log_normal normal normal_functional poisson randn "
        "randn_like".split(),
        noise,
    ),
}
