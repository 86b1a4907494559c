"""A weight or bias of a layer: fixed, or sampled as mu + sigma * eps (Bayes by Backprop)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """The random part of a weight: element i is sigma[i] * eps[index[i]], eps ~ N(0, 1).

    `source` draws eps. `sigma` (any sign) and `index` (i64, the noise counted in row-major order)
    have the weight's shape.
    """

    source: fx.Node
    sigma: Tensor
    index: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A tensor of parameters: `mu` alone, or with `sampling` the mean of a random tensor."""

    mu: Tensor
    sampling: Sampling | None = None

    @property
    def shape(self) -> torch.Size:
        return self.mu.shape

    def moved(self, move: Callable[[Tensor], Tensor]) -> Weight:
        """The weight with its elements moved; `move` transposes, flips or reshapes."""
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
        """Whether each element i with a sigma takes noise i, of `count` in all."""
        if self.sampling is None or count != self.mu.numel():
            return False
        own = torch.arange(count).reshape(self.shape)
        return bool(((self.sampling.index == own) | (self.sampling.sigma == 0)).all())
