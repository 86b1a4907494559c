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

BY_ROW = NotSupported(
    "its random numbers are drawn for each row of the batch, so that each row has a weight of its "
    "own, which is not supported",
    "draw noise of the weight's shape, or sample the outputs (local reparameterisation: a mean and "
    "a variance are computed from the input)",
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
        case Filled(shape) if all(isinstance(n, int) for n in shape):
            return value.tensor([int(n) for n in shape]).double()
        case torch.dtype() if value.is_floating_point:
            return torch.float64
        case list():
            return [_plain(item, eps, known, fail) for item in value]
        case torch.SymInt() | Filled() | Activation():
            fail(*BY_ROW)
        case _:
            return value
