"""Sources of random numbers: a generator while training, the counters when evaluating."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from qbnnc.ir.ops import ChoiceIndex, Distribution, KeepMask, Noise, Normal, RandomOp
from qbnnc.ir.rng import Draw

_LANES = 2**16


class NoiseSource(Protocol):
    """A source of random numbers for one sample: [B, *shape], or [1, *shape] if rows share them."""

    def draw(self, op: RandomOp, rows: int, like: Tensor) -> Tensor:
        """The numbers of `op`, f32, or i64 for an index, on the device of `like`."""


class FreshNoise:
    """PyTorch's random numbers; a stream that is asked for again gives the same ones.

    Masks of one stream compare the same lanes.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._generator = generator
        self._drawn: dict[int, Tensor] = {}

    def draw(self, op: RandomOp, rows: int, like: Tensor) -> Tensor:
        if op.stream not in self._drawn:
            self._drawn[op.stream] = self._fresh(op, rows, like)
        drawn = self._drawn[op.stream]
        if isinstance(op, KeepMask):
            kept = (drawn >= op.threshold) ^ op.inverted
            return kept.reshape(len(drawn), *op.shape).to(like.dtype)
        return drawn

    def _fresh(self, op: RandomOp, rows: int, like: Tensor) -> Tensor:
        generator, device = self._generator, like.device
        match op:
            case KeepMask(shape=shape, shared=shared):
                size = (1 if shared else rows, *shape)
                return torch.randint(_LANES, size, generator=generator, device=device)
            case ChoiceIndex(count, shared=shared):
                size = (1 if shared else rows, 1)
                return torch.randint(count, size, generator=generator, device=device)
            case Noise(Distribution.UNIFORM, shape, shared=shared):
                size = (1 if shared else rows, *shape)
                lanes = torch.randint(_LANES, size, generator=generator, device=device)
                return ((lanes + 0.5) / _LANES).to(
                    like.dtype
                )  # never 0 or 1, of which logs are none
            case Normal(shape=shape):
                size = (1, *shape)
                return torch.randn(size, generator=generator, device=device, dtype=like.dtype)
            case Noise(Distribution.NORMAL, shape, shared=shared):
                size = (1 if shared else rows, *shape)
                return torch.randn(size, generator=generator, device=device, dtype=like.dtype)
        raise TypeError(f"{op.name} draws no numbers before the INTEGER stage")


class CountedNoise:
    """The numbers of one sample by docs/semantics.md, section 5, as every backend draws them."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    def draw(self, op: RandomOp, rows: int, like: Tensor) -> Tensor:
        """`rows` are those of the Draw."""
        drawn = torch.from_numpy(op.draw(self._draw)[0]).to(like.device)
        return drawn.long() if isinstance(op, ChoiceIndex) else drawn.to(like.dtype)
