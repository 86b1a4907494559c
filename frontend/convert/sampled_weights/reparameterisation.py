"""Reparameterised weights mu + sigma * eps, recognised by their values and not by their code.

A weight is a function f of Gaussian noise, given by a part of the user's program. It is evaluated
in float64 with noise of our choice:

1. The mean mu is f(0).
2. The scale sigma is (f(B * 1) - mu) / B. A large B keeps mu from drowning a small sigma.
3. Each weight element depends on one noise element i. A digit of i is
   (f(B * digit) - mu) / (B * sigma). There are two digits, i mod 1024 and i div 1024.
4. At random noise, f must be mu + sigma * eps[index], or the weight is no such function.

The parametrisation of sigma does not matter, and the noise may be sliced, transposed or shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn, Protocol, TypeAlias, cast

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.sampled_weights.weights import Sampling, Weight
from qbnnc.frontend.convert.tracked import Activation, Constant, DropoutMask, Filled, Noise, Uniform
from qbnnc.frontend.convert.unsupported_ops import NotSupported
from qbnnc.frontend.program.random_ops import NORMALS, op_name


class Fail(Protocol):
    """Raises a CompileError with this message and remedy."""

    def __call__(self, message: str, remedy: str = "") -> NoReturn: ...


Eps: TypeAlias = Mapping[fx.Node, Tensor]

_LARGE = 2.0**20
_BASE = 1024
_TOLERANCE = 1e-7  # a large margin for rounding in float64

BY_ROW = NotSupported(
    "its random numbers are drawn for each row of the batch, so that each row has a weight of its "
    "own, which is not supported",
    "draw noise of the weight's shape, or sample the outputs (local reparameterisation: a mean and "
    "a variance are computed from the input)",
)


def probe(noise: Noise, what: str, fail: Fail) -> Weight:
    """The mean, scale and noise of each element of the weight called `what`; else call `fail`."""
    probed = _Probe(noise, what, fail)
    mu = probed.at(probed.count(lambda i: torch.zeros_like(i)))
    sigma = probed.slope(mu, lambda i: torch.ones_like(i))
    if not bool(sigma.any()):
        probed.check(mu, sigma, torch.zeros_like(sigma, dtype=torch.int64))
        return Weight(mu)
    safe = torch.where(sigma == 0, 1.0, sigma)
    low = (probed.slope(mu, lambda i: i % _BASE) / safe).nan_to_num().round()
    high = (probed.slope(mu, lambda i: i // _BASE) / safe).nan_to_num().round()
    index = (high * _BASE + low).clamp(0, probed.size - 1).to(torch.int64)
    probed.check(mu, sigma, index)
    return _of_one_source(probed, mu, sigma, index)


def _of_one_source(probed: _Probe, mu: Tensor, sigma: Tensor, index: Tensor) -> Weight:
    """The weight, if all of its noise has one source; noise of all sources is counted through."""
    used = index[sigma != 0]
    for source, (start, stop) in probed.ranges.items():
        if bool(((used >= start) & (used < stop)).all()):
            own = torch.where(sigma == 0, start, index) - start
            return Weight(mu, Sampling(source, sigma, own))
    probed.fail(
        f"its {probed.what} is put together from several noise tensors", "draw one and slice it"
    )


class _Probe:
    """A weight as a function of its noise, which is counted through from 0."""

    def __init__(self, noise: Noise, what: str, fail: Fail) -> None:
        self.what, self.fail, self._noise = what, fail, noise
        self.ranges: dict[fx.Node, tuple[int, int]] = {}
        self.size = 0
        for source in dict.fromkeys(sources(noise)):
            if op_name(source) not in NORMALS:
                fail(
                    f"its {what} is sampled with noise that is not Gaussian "
                    f"({op_name(source).strip('_')!r})",
                    "only mean + scale * Gaussian noise is supported",
                )
            count = source.meta["val"].numel()
            if not isinstance(count, int):
                fail(*BY_ROW)
            self.ranges[source] = self.size, self.size + count
            self.size += count

    def count(self, code: Callable[[Tensor], Tensor]) -> Tensor:
        """`code` applied to the number of each noise element, f64."""
        return code(torch.arange(self.size)).to(torch.float64)

    def at(self, eps: Tensor) -> Tensor:
        """f(eps), f64."""
        given = {
            source: eps[start:stop].reshape(source.meta["val"].shape)
            for source, (start, stop) in self.ranges.items()
        }
        with torch.no_grad():
            return _evaluated(self._noise, given, {}, self.fail)

    def slope(self, mu: Tensor, code: Callable[[Tensor], Tensor]) -> Tensor:
        return (self.at(_LARGE * self.count(code)) - mu) / _LARGE

    def check(self, mu: Tensor, sigma: Tensor, index: Tensor) -> None:
        """Call `fail` unless the weight is mu + sigma * eps[index], for small and large noise."""
        random = torch.Generator().manual_seed(0)
        for size in (1.0, 8.0, _LARGE):
            eps = size * torch.randn(self.size, generator=random, dtype=torch.float64)
            if not _same(self.at(eps), mu, sigma * eps[index]):
                self._fail_unlike(mu, eps / size)

    def _fail_unlike(self, mu: Tensor, eps: Tensor) -> NoReturn:
        if _same(self.at(_LARGE * eps), mu, _LARGE * (self.at(eps) - mu)):
            self.fail(
                f"its {self.what} has correlated noise: an element depends on several elements of "
                "the noise (low rank, or a full covariance), and only independent Gaussian "
                "weights are supported"
            )
        self.fail(
            f"its {self.what} is random, but not mean + scale * Gaussian noise",
            "only independent Gaussian weights are supported",
        )


def _same(value: Tensor, mean: Tensor, part: Tensor) -> bool:
    """Whether value = mean + part, with all numbers finite."""
    largest = mean.abs() + part.abs()
    close = (value - (mean + part)).abs() <= _TOLERANCE * largest
    return bool((close & largest.isfinite()).all())


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


def _evaluated(noise: Noise, eps: Eps, known: dict[Noise, object], fail: Fail) -> Tensor:
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
            return _evaluated(value, eps, known, fail)
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
