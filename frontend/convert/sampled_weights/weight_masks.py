"""Masks on weights (DropConnect, spike and slab), recognised by their values.

A weight is a function f of a mask, and perhaps of Gaussian noise. Where f is 0 for a mask of zeros,
the mask drops elements of the weight that f gives for a mask of ones. Each element depends on one
number of the mask. Masks that hold the binary digits of these numbers tell which. At random masks,
f must be as this says.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, fx

from qbnnc.frontend.convert.sampled_weights.noise_values import (
    BY_ROW,
    Eps,
    Fail,
    evaluated,
    masks,
    sources,
)
from qbnnc.frontend.convert.sampled_weights.weights import WeightMask
from qbnnc.frontend.convert.tracked import DropoutMask, Noise, exact

_TRIALS = 3
_HOW = (
    "a weight times one random mask of 0 and 1 compiles, whose numbers each keep or drop elements"
)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A mask of a weight; `held` are the values of the mask that keeps all elements."""

    mask: WeightMask
    held: Eps


def mask_of(noise: Noise, what: str, fail: Fail) -> Found | None:
    """The mask of the weight called `what`; None if it has none. Else call `fail`."""
    found = list(masks(noise))
    if not found:
        return None
    source = found[0].drawn.source
    if any(each.drawn.source is not source for each in found):
        fail(f"its {what} is under several random masks", _HOW)
    if not all(isinstance(extent, int) for extent in found[0].drawn.shape):
        fail(*BY_ROW)
    return _Trial(noise, what, fail, found).found()


class _Trial:
    """A weight as a function of one mask, with Gaussian noise that stays the same."""

    def __init__(self, noise: Noise, what: str, fail: Fail, found: list[DropoutMask]) -> None:
        self._noise, self._what, self._fail, self._first = noise, what, fail, found[0]
        self._source = found[0].drawn.source
        self._size = torch.Size([int(extent) for extent in found[0].drawn.shape]).numel()
        if any(_event(each) != _event(found[0]) for each in found):
            fail(f"its {what} is under masks of one draw with different probabilities", _HOW)
        random = torch.Generator().manual_seed(0)
        self._eps = {
            each: torch.randn(each.meta["val"].shape, generator=random, dtype=torch.float64)
            for each in dict.fromkeys(sources(noise))
            if each is not self._source and _is_static(each)
        }

    def at(self, high: Tensor) -> Tensor:
        """f, f64, where numbers of the mask are high (1) or low (0)."""
        with torch.no_grad():
            given = {**self._eps, self._source: high.to(torch.float64)}
            return evaluated(self._noise, given, {}, self._fail).to(torch.float64)

    def found(self) -> Found:
        """The mask; call `fail` if f is no weight under a mask."""
        ones, zeros = torch.ones(self._size), torch.zeros(self._size)
        kept, dropped = self.at(ones), self.at(zeros)
        low = not bool(kept.any())
        if low:
            kept, dropped, ones = dropped, kept, zeros
        if bool(dropped.any()):
            self._fail(f"its {self._what} is chosen by a mask between two tensors", _HOW)
        index = self._index(kept, low=low)
        self._check(kept, index, low=low)
        event = _event(self._first)
        mask = WeightMask(self._source, exact(1 - event) if low else event, low, index, self._size)
        return Found(mask, {self._source: ones.to(torch.float64)})

    def _index(self, kept: Tensor, *, low: bool) -> Tensor:
        """The number of the mask for each element, -1 where the element is 0 in any case."""
        numbers, index = torch.arange(self._size), torch.zeros(kept.shape, dtype=torch.int64)
        for digit in range(max(1, (self._size - 1).bit_length())):
            bits = numbers >> digit & 1
            made = self.at(1 - bits if low else bits)
            index |= (made != 0).to(torch.int64) << digit
        return torch.where(kept == 0, -1, index.clamp(max=self._size - 1))

    def _check(self, kept: Tensor, index: Tensor, *, low: bool) -> None:
        random = torch.Generator().manual_seed(1)
        for _ in range(_TRIALS):
            keep = torch.randint(0, 2, (self._size,), generator=random)
            made = self.at(1 - keep if low else keep)
            if not torch.allclose(made, kept * keep[index.clamp(min=0)], rtol=1e-7, atol=0):
                self._fail(f"its {self._what} is a function of a mask that is no product", _HOW)


def _event(mask: DropoutMask) -> float:
    """The number up to which the mask takes numbers for low."""
    return exact(1 - mask.p) if mask.low else mask.p


def _is_static(source: fx.Node) -> bool:
    return all(isinstance(extent, int) for extent in source.meta["val"].shape)


def lanes_of(mask: WeightMask) -> tuple[tuple[int, ...], Tensor] | None:
    """The shape of a KeepMask that broadcasts to the weight, and the number of each lane, [1, n].

    None if elements share numbers as no broadcast does. Lanes that nothing depends on have numbers
    that nothing else takes.
    """
    for kept in product((True, False), repeat=mask.index.ndim):
        axes = [axis for axis, keep in enumerate(kept) if not keep]
        greatest = mask.index.amax(axes, keepdim=True) if axes else mask.index
        same = (mask.index == greatest) | (mask.index < 0)
        numbers = greatest.reshape(-1).clone()
        known = numbers[numbers >= 0]
        if bool(same.all()) and len(known.unique()) == len(known):
            free = sorted({*range(mask.size)} - {*known.tolist()})
            unknown = len(numbers) - len(known)
            if unknown <= len(free):
                numbers[numbers < 0] = torch.tensor(free[:unknown], dtype=torch.int64)
                return tuple(greatest.shape), numbers[None]
    return None
