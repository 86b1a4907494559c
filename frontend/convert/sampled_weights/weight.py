"""Weights and biases of layers: fixed, or sampled as mu + sigma * eps (Bayes by Backprop)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """What makes element i random: sigma[i] * eps[index[i]], with eps ~ N(0, 1) of `source`.

    `sigma` (any sign) and `index` (i64, the noise counted in row-major order) have the weight's
    shape.
    """

    source: fx.Node
    sigma: Tensor
    index: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A tensor of parameters: `mu` alone, or the mean of what is sampled."""

    mu: Tensor
    sampling: Sampling | None = None

    @property
    def shape(self) -> torch.Size:
        return self.mu.shape

    def moved(self, move: Callable[[Tensor], Tensor]) -> Weight:
        """The elements in another place: `move` transposes, flips or reshapes."""
        if self.sampling is None:
            return Weight(move(self.mu))
        sigma, index = move(self.sampling.sigma), move(self.sampling.index)
        return Weight(move(self.mu), Sampling(self.sampling.source, sigma, index))

    def scaled(self, factor: float) -> Weight:
        if self.sampling is None or factor == 1:
            return self if factor == 1 else Weight(self.mu * factor)
        sampling = self.sampling
        scaled = Sampling(sampling.source, sampling.sigma * factor, sampling.index)
        return Weight(self.mu * factor, scaled)

    def row_major(self, count: int) -> bool:
        """Whether element i takes noise i of `count`, wherever sigma is not zero."""
        if self.sampling is None or count != self.mu.numel():
            return False
        own = torch.arange(count).reshape(self.shape)
        return bool(((self.sampling.index == own) | (self.sampling.sigma == 0)).all())
