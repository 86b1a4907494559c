"""Dropout in every spelling, and the noise that is no dropout."""

from __future__ import annotations

from qbnnc.frontend.convert.call import Call, number_of
from qbnnc.frontend.convert.drawn import Drawn, Shape
from qbnnc.frontend.convert.rule import Rules
from qbnnc.frontend.convert.values import (
    Filled,
    Fixed,
    Keep,
    Noise,
    Result,
    Tracked,
    Uniform,
    exact,
)

_MASKS = (
    "masks of activations compile (nn.Dropout, F.dropout of what a layer gives), and so do weights "
    "mu + sigma * torch.randn_like(mu)"
)


def dropout(call: Call) -> Tracked:
    return _dropout(call, call.shape())


def native_dropout(call: Call) -> Result:
    """(the masked tensor, the mask)."""
    kept = _dropout(call, call.shape(0))
    return kept, Keep(Drawn(call.node, call.shape(0)), call.shape(0), call.number("p"))


def feature_dropout(call: Call) -> Tracked:
    """Dropout1d, 2d, 3d: one draw for each channel."""
    shape = call.shape()
    return _dropout(call, shape[:2] + (1,) * (len(shape) - 2))


def _dropout(call: Call, shape: Shape) -> Tracked:
    p, x = call.number("p"), call.tracked("input")
    if call.arguments["train"] is False:
        return x
    if not 0 <= p < 1:
        call.fail(f"drops with probability {p:g}", "it must be at least 0 and below 1")
    keep = Keep(Drawn(call.node, shape), call.shape(), p, 1 / (1 - p))
    match x:
        case Filled(_, number) if number is not None:
            return keep.scaled(number)
        case Fixed(tensor) if (number := number_of(tensor)) is not None:
            return keep.scaled(number)
        case Noise():
            call.fail("drops out a sampled weight (DropConnect), which does not compile", _MASKS)
        case Fixed(tensor):
            call.fail(
                f"drops out a constant of shape {list(tensor.shape)}; a mask on weights "
                "(DropConnect) does not compile",
                _MASKS,
            )
        case _:
            return call.scope.masked(call.scope.value(x, call), keep, call)


def bernoulli(call: Call) -> Tracked:
    """1 with the probability given as a number, or by a tensor that is the same everywhere."""
    if call.arguments.get("p") is not None:
        probability: float | None = call.number("p")
    else:
        probability = _even_number(call)
    if probability is None:
        call.fail("draws with a probability for each element", "only one number is supported")
    return Keep(Drawn(call.node, call.shape()), call.shape(), exact(1.0 - probability))


def _even_number(call: Call) -> float | None:
    match call.tracked("self"):
        case Filled(_, number):
            return number
        case Fixed(tensor):
            return number_of(tensor)
        case _:
            return None


def uniform(call: Call) -> Tracked:
    low, high = call.arguments.get("from", 0), call.arguments.get("to", 1)
    if (low, high) != (0, 1):
        return noise(call)
    return Uniform(Drawn(call.node, call.shape()), call.shape())


def noise(call: Call) -> Tracked:
    return Noise(call.node, None, call.arguments)


DROPOUT_RULES: Rules = {
    "dropout": dropout,
    "feature_dropout": feature_dropout,
    "native_dropout": native_dropout,
}
DRAWING_RULES: Rules = {
    "bernoulli": bernoulli,
    "rand": uniform,
    "rand_like": uniform,
    "uniform": uniform,
    **dict.fromkeys(
        "cauchy exponential geometric log_normal normal normal_functional poisson randint "
        "randint_like randn randn_like random".split(),
        noise,
    ),
}
