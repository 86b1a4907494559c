"""The values of noise expressions: a part of the user's program, evaluated at given noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import NoReturn, Protocol, TypeAlias, cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.tracked import (
    Activation,
    Constant,
    DropoutMask,
    Filled,
    MaskSum,
    Noise,
    Uniform,
)
from qbnnc.frontend.convert.unsupported_ops import NotSupported


class Fail(Protocol):
    """Raises a CompileError with this message and remedy."""

    def __call__(self, message: str, remedy: str = "") -> NoReturn: ...


Eps: TypeAlias = Mapping[fx.Node, Tensor]  # noise, and 1 for what is high under a mask
_CONDITIONS = frozenset({"condition", "mask"})  # arguments that torch wants as booleans

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
        case DropoutMask(drawn, others=others):
            yield drawn.source
            yield from sources(list(others))
        case MaskSum(terms):
            yield from sources(list(terms))
        case Uniform(drawn):
            yield drawn.source
        case list():
            for item in noise:
                yield from sources(item)


def masks(noise: object) -> Iterator[DropoutMask]:
    """Yield the masks in `noise`, each without the masks that it is multiplied by."""
    match noise:
        case Noise(_, function, arguments) if function is not None:
            for argument in arguments.values():
                yield from masks(argument)
        case DropoutMask(others=others):
            yield replace(noise, others=())
            yield from masks(list(others))
        case MaskSum(terms):
            yield from masks(list(terms))
        case list():
            for item in noise:
                yield from masks(item)


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
            for name in _CONDITIONS & plain.keys():
                plain[name] = cast(Tensor, plain[name]).bool()
            if isinstance(noise.function, itemgetter):
                known[noise] = noise.function(cast("Sequence[object]", plain["several"]))
            else:
                known[noise] = noise.function(**plain)
    return cast(Tensor, known[noise])


def _kept(mask: DropoutMask, eps: Eps) -> Tensor:
    """The values of a mask, from what is 1 where a number is high."""
    high = eps[mask.drawn.source].reshape(-1)[mask.drawn.places(1)]
    kept = mask.scale * (1 - high if mask.low else high)
    for other in mask.others:
        kept = kept * _kept(other, eps)
    return kept


def _plain(value: object, eps: Eps, known: dict[Noise, object], fail: Fail) -> object:
    """An argument for torch's own op, with every float in float64."""
    match value:
        case Noise():
            return evaluated(value, eps, known, fail)
        case Constant(tensor):
            return tensor.double() if tensor.is_floating_point() else tensor
        case Filled(shape) if all(isinstance(n, int) for n in shape):
            return value.tensor([int(n) for n in shape]).double()
        case DropoutMask():
            return _kept(value, eps)
        case MaskSum(terms, offset):
            return sum((_kept(term, eps) for term in terms), torch.tensor(offset))
        case torch.dtype() if value.is_floating_point:
            return torch.float64
        case list():
            return [_plain(item, eps, known, fail) for item in value]
        case torch.SymInt() | Filled() | Activation():
            fail(*BY_ROW)
        case _:
            return value
