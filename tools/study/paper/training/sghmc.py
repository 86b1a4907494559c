"""Stochastic gradient Hamiltonian Monte Carlo (Chen, Fox and Guestrin 2014): a chain of weights.

The form is that of Wenzel et al. (2020, algorithm 1), with the parameters of SGD with momentum. Let
l be the learning rate, b the momentum, N the rows of the training set and m the mass of a tensor:

    v <- b*v - (l/m)*(grad + precision*theta/N) + sqrt(2*(1-b)*l/(N*m))*normal
    theta <- theta + v

`grad` is the gradient of the MEAN negative log likelihood of a batch, so that the stationary
density is exp(-N*loss - precision*|theta|^2/2), at temperature 1.

- Each tensor has one mass: the root mean square of its gradients, a running mean over the burn-in
  and fixed from there on. With a mass for every weight (Springenberg et al. 2016), weights that see
  few gradients run off. Their tails reach 20 standard deviations, which no scale of 5 bits serves.
- Each tensor has one Gaussian prior, whose precision has a Gamma(10, 10) prior of its own and is
  drawn again every few steps given the weights. The momentum is drawn again now and then too.
- l/m is capped for tensors that (nearly) no gradient reaches: they follow their prior.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

SHAPE, RATE = 10.0, 10.0  # shape and rate of the Gamma prior on precisions
DECAY = 0.99  # decay of the running mean of squared gradients
STABLE = 0.1  # largest (l/m) * precision/N; from 2*(1+b) the chain would run off


@dataclass(frozen=True, slots=True)
class ChainOptions:
    """The rates of a chain.

    Fields:
        rate: the learning rate l of a tensor with mass 1; a trained network has masses of .001 to
            .1.
        momentum: the momentum b; 1-b is the friction of one step.
        momentum_every: steps between fresh momenta.
        prior_every: steps between fresh precisions.
    """

    rate: float
    momentum: float = 0.95
    momentum_every: int = 50
    prior_every: int = 15


class Chain:
    """The state of a chain: weights (those of the module), velocities, masses, precisions."""

    def __init__(self, parameters: Iterable[nn.Parameter], rows: int, options: ChainOptions):
        self.parameters = list(parameters)
        self.rows, self.options, self.steps = rows, options, 0
        self.velocities = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [0.0 for _ in self.parameters]
        self.precisions = [1.0 for _ in self.parameters]

    @torch.no_grad()
    def step(self, *, burn_in: bool) -> None:
        """Make one step from the gradients that `backward` has left."""
        if self.steps % self.options.prior_every == 0:
            self.precisions = [drawn_precision(p) for p in self.parameters]
        if burn_in:
            self._weigh()
        fresh = self.steps % self.options.momentum_every == 0
        for i, theta in enumerate(self.parameters):
            self._move(theta, self.velocities[i], self._rate(i), self.precisions[i], fresh)
        self.steps += 1

    def _weigh(self) -> None:
        """Update the running mean of squared gradients, which starts with the first."""
        decay = DECAY if self.steps else 0.0
        for i, p in enumerate(self.parameters):
            self.squares[i] = decay * self.squares[i] + (1 - decay) * float(
                _grad(p).square().mean()
            )

    def _rate(self, i: int) -> float:
        """l/m of a tensor, at most what a step can follow of the prior's own force."""
        stable = STABLE * self.rows / self.precisions[i]
        return min(self.options.rate / (math.sqrt(self.squares[i]) + 1e-8), stable)

    def _move(
        self, theta: Tensor, velocity: Tensor, rate: float, precision: float, fresh: bool
    ) -> None:
        friction = 1 - self.options.momentum
        if fresh:
            velocity.normal_().mul_((rate / self.rows) ** 0.5)
        force = _grad(theta).add(theta, alpha=precision / self.rows)
        velocity.mul_(1 - friction).sub_(force, alpha=rate)
        noise = torch.randn_like(theta)
        velocity.add_(noise, alpha=(2 * friction * rate / self.rows) ** 0.5)
        theta.add_(velocity)


def drawn_precision(theta: Tensor) -> float:
    """A draw of Gamma(SHAPE + n/2, RATE + sum(theta^2)/2), the precision given the n weights."""
    shape = SHAPE + theta.numel() / 2
    rate = RATE + float(theta.detach().square().sum()) / 2
    drawn = torch.distributions.Gamma(shape, rate).sample()
    return float(drawn)


def _grad(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad
