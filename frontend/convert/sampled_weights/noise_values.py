"""The values of noise expressions: a part of the user's program, evaluated at given noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NoReturn, Protocol, TypeAlias, cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.tracked import Activation, Constant, DropoutMask, Filled, Noise, Uniform
from qbnnc.frontend.convert.unsupported_ops import NotSupported


class Fail(Protocol):
    """Raises a CompileError with this message and remedy."""

    def __call__(self, message: str, remedy: str = "") -> NoReturn: ...


Eps: TypeAlias = Mapping[fx.Node, Tensor]

ON_ACTIVATIONS = NotSupported(
    "noise is added to activations: that is local reparameterisation (a mean and a variance are "
    "computed from the input, and sampled), or noise of the batch's size, which has no integer "
    "form",
    "dropout masks compile, and so do layers that sample their weights, mu + "
    "sigma * torch.randn_like(mu), in place of activations (LinearReparameterization of "
    "bayesian-torch, BayesLinear of torchbnn), which have the same means and variances",
)


def sources(noise: object) -> Iterator[fx.Node]:
    """Yield the nodes that draw the random numbers in `noise`."""
    match noise:
        case Noise(source, None, arguments):
            yield source
            for name in ("mean", "std"):
                yield from sources(arguments.get(name))
        case Noise(_, _, arguments):
            for argument in arguments.values():
                yield from sources(argument)
        case DropoutMask(drawn) | Uniform(drawn):
            yield drawn.source
        case list():
            for item in noise:
                yield from sources(item)


def evaluated(noise: Noise, eps: Eps, known: dict[Noise, object], fail: Fail) -> Tensor:
    """f(eps); `known` holds the parts that have been computed."""
    if noise not in known:
        arguments = noise.arguments
        if noise.function is None:
            mean, std = (
                _plain(arguments.get(name, default), eps, known, fail)
                for name, default in (("mean", 0.0), ("std", 1.0))
            )
            known[noise] = cast(Tensor, mean) + cast(Tensor, std) * eps[noise.source]
        else:
            plain = {name: _plain(value, eps, known, fail) for name, value in arguments.items()}
            known[noise] = noise.function(**plain)
    return cast(Tensor, known[noise])


def _plain(value: object, eps: Eps, known: dict[Noise, object], fail: Fail) -> object:
    """An argument for torch's own op, with every float in float64."""
    match value:
        case Noise():
            return evaluated(value, eps, known, fail)
        case Constant(tensor):
            return tensor.double() if tensor.is_floating_point() else tensor
        case Filled(shape, number) if all(isinstance(n, int) for n in shape):
            return torch.full([int(n) for n in shape], number or 0.0, dtype=torch.float64)
        case torch.dtype() if value.is_floating_point:
            return torch.float64
        case list():
            return [_plain(item, eps, known, fail) for item in value]
        case torch.SymInt() | Filled() | Activation():
            fail(*ON_ACTIVATIONS)
        case _:
            return value
