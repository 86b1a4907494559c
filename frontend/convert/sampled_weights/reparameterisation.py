"""Reparameterised weights mu + sigma * eps, recognised by their values and not by their code.

A weight is a function f of Gaussian noise, given by a part of the user's program. It is evaluated
in float64 with noise of our choice:

1. The mean mu is f(0).
2. The scale sigma is (f(B * 1) - mu) / B. A large B keeps mu from drowning a small sigma.
3. Each weight element depends on one noise element i. A digit of i is
   (f(B * digit) - mu) / (B * sigma). There are two digits, i mod 1024 and i div 1024.
4. At random noise, f must be mu + sigma * eps[index].
5. Else f must be affine: at random noise, the parts of a sum add up. Each noise tensor is then
   looked at by itself, with the others at 0. It has a sigma and an index, or several of its
   elements meet in one weight (see `correlated_noise`).

The parametrisation of sigma does not matter, and the noise may be sliced, transposed or shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NoReturn

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.sampled_weights.noise_values import (
    BY_ROW,
    Eps,
    Fail,
    evaluated,
    sources,
)
from qbnnc.frontend.convert.sampled_weights.weight_masks import mask_of
from qbnnc.frontend.convert.sampled_weights.weights import Correlated, Sampling, Weight, size_of
from qbnnc.frontend.convert.tracked import Noise
from qbnnc.frontend.program.random_ops import NORMALS, op_name

_LARGE = 2.0**20
_BASE = 1024
_TOLERANCE = 1e-7  # a large margin for rounding in float64


def probe(noise: Noise, what: str, fail: Fail) -> Weight:
    """The mean and the noise of each element of the weight called `what`; else call `fail`."""
    if (mask := mask_of(noise, what, fail)) is not None:
        return replace(_probed(noise, what, fail, mask.held), mask=mask.mask)
    return _probed(noise, what, fail, {})


def _probed(noise: Noise, what: str, fail: Fail, held: Eps) -> Weight:
    """The weight under masks that are `held`."""
    if not {*sources(noise)} - {*held}:
        return Weight(evaluated(noise, held, {}, fail))
    whole = _Probe(noise, what, fail, held)
    found = whole.sampling()
    if found is not None:
        return Weight(whole.mu, found) if found.sources else Weight(whole.mu)
    whole.check_affine()
    parts = [_Probe(noise, what, fail, held, source) for source in whole.ranges]
    independent, correlated = list[Sampling](), list[Correlated]()
    for part in parts:
        found = part.sampling()
        if found is None:
            (source,) = part.ranges
            correlated.append(Correlated(source, part.linear))
        elif found.sources:
            independent.append(found)
    joined = _joined(sorted(independent, key=_elements, reverse=True))
    first = joined[0] if joined else None
    return Weight(whole.mu, first, (*joined[1:], *correlated))


def _elements(sampling: Sampling) -> int:
    """The number of noise elements that a weight takes."""
    return len(sampling.index[sampling.sigma != 0].unique())


def _joined(parts: list[Sampling]) -> list[Sampling]:
    """The noise, with that of different elements of the weight as one."""
    joined = list[Sampling]()
    for part in parts:
        for i, other in enumerate(joined):
            if not bool(((part.sigma != 0) & (other.sigma != 0)).any()):
                size = sum(size_of(source) for source in other.sources)
                index = torch.where(part.sigma != 0, part.index + size, other.index)
                sigma = part.sigma + other.sigma
                joined[i] = Sampling((*other.sources, *part.sources), sigma, index)
                break
        else:
            joined.append(part)
    return joined


class _Probe:
    """A weight as a function of its noise, which is counted through from 0.

    With `only`, all other noise is 0. Masks are `held`.
    """

    def __init__(
        self, noise: Noise, what: str, fail: Fail, held: Eps, only: fx.Node | None = None
    ) -> None:
        self.what, self.fail, self._noise = what, fail, noise
        self.ranges: dict[fx.Node, tuple[int, int]] = {}
        self.size = 0
        self._others = dict(held)
        for source in dict.fromkeys(source for source in sources(noise) if source not in held):
            if op_name(source) not in NORMALS:
                fail(
                    f"its {what} is sampled with noise that is not Gaussian "
                    f"({op_name(source).strip('_')!r})",
                    "only mean + scale * Gaussian noise is supported",
                )
            shape = source.meta["val"].shape
            if not isinstance(source.meta["val"].numel(), int):
                fail(*BY_ROW)
            if only not in (None, source):
                self._others[source] = torch.zeros(shape, dtype=torch.float64)
                continue
            self.ranges[source] = self.size, self.size + size_of(source)
            self.size += size_of(source)
        self.mu = self.at(torch.zeros(self.size, dtype=torch.float64))

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
            return evaluated(self._noise, given | self._others, {}, self.fail)

    def linear(self, eps: Tensor) -> Tensor:
        """f(eps) - mu, with large noise in between, which keeps mu from drowning it."""
        return (self.at(_LARGE * eps.reshape(-1)) - self.mu) / _LARGE

    def sampling(self) -> Sampling | None:
        """The sigma and index of the noise, without sources if all is 0; None if f has none."""
        sigma = self.linear(self.count(torch.ones_like))
        safe = torch.where(sigma == 0, 1.0, sigma)
        low = (self.linear(self.count(lambda i: i % _BASE)) / safe).nan_to_num().round()
        high = (self.linear(self.count(lambda i: i // _BASE)) / safe).nan_to_num().round()
        index = (high * _BASE + low).clamp(0, self.size - 1).to(torch.int64)
        for eps in self._random():
            if not _same(self.at(eps), self.mu, sigma * eps[index]):
                return None
        return self._of_sources(sigma, torch.where(sigma == 0, -1, index))

    def _of_sources(self, sigma: Tensor, index: Tensor) -> Sampling:
        """The noise of the sources that are used; index -1 is none."""
        used = [
            (source, start, stop)
            for source, (start, stop) in self.ranges.items()
            if bool(((index >= start) & (index < stop)).any())
        ]
        own, size = torch.zeros_like(index), 0
        for _, start, stop in used:
            own = torch.where((index >= start) & (index < stop), index - start + size, own)
            size += stop - start
        return Sampling(tuple(source for source, _, _ in used), sigma, own)

    def _random(self) -> Iterator[Tensor]:
        random = torch.Generator().manual_seed(0)
        for size in (1.0, 8.0, _LARGE):
            yield size * torch.randn(self.size, generator=random, dtype=torch.float64)

    def check_affine(self) -> None:
        """Call `fail` unless f(a + b) - mu is the sum of f(a) - mu and f(b) - mu."""
        mu, large = self.mu, list(self._random())
        for a, b in zip(large, (*large[1:], -large[0]), strict=True):
            parts = (self.at(a) - mu, self.at(b) - mu, self.at(a + b) - mu)
            largest = max(float(part.abs().max()) for part in (*parts, mu))
            apart = float((parts[0] + parts[1] - parts[2]).abs().max())
            if not apart <= _TOLERANCE * largest:
                self._fail_unlike()

    def _fail_unlike(self) -> NoReturn:
        self.fail(
            f"its {self.what} is random, but not mean + scale * Gaussian noise",
            "a weight must be linear in its noise: a product of noise tensors or a nonlinear "
            "function of noise is not",
        )


def _same(value: Tensor, mean: Tensor, part: Tensor) -> bool:
    """Whether value = mean + part, with all numbers finite."""
    largest = mean.abs() + part.abs()
    close = (value - (mean + part)).abs() <= _TOLERANCE * largest
    return bool((close & largest.isfinite()).all())
