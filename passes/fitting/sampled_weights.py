"""Fit mu and sigma of sampled weights, so that outputs keep their mean and their variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qbnnc.ir.products import product
from qbnnc.ir.scales import sampling_quants
from qbnnc.ir.types import Array, QuantParams
from qbnnc.passes.fitting.rounding import Inverse, NotFitted
from qbnnc.passes.fitting.sample_moments import best_distribution, sample_moments

Float64 = NDArray[np.float64]

_DAMPINGS = 0.1, 1.0  # parts of the mean diagonal of H: few samples say little about small ones
_BITS, _LARGEST = 8, 127  # codes of mu and sigma
_MU_ROOM, _SIGMA_ROOM = 0.5, 1.25  # codes beyond max|mu|, and times max|sigma|
# Price of a wrong deviation beside a wrong mean. A low one takes the noise of the largest weights
# away, and outputs are then no longer ranked by their variances as they were.
_PRICE = 2.0
_MOST_FACTOR = 4.0  # of a variance that makes up for what others lack
_BLOCK = 128
_SLICES = 2


@dataclass(frozen=True, slots=True, eq=False)
class SampledParameters:
    """mu and sigma [N, ...], f32, with their quantisers, on whose grids they lie."""

    mu: Array
    sigma: Array
    mu_quant: QuantParams
    sigma_quant: QuantParams


def fitted_parameters(
    mu: Array, sigma: Array, quant: QuantParams, products: Float64 | None
) -> SampledParameters:
    """mu' and sigma', in 8 bits, of a weight whose samples are rounded to the grid of `quant`.

    `products` [K, K] is the mean of x x^T over a layer's inputs x. Columns are visited by falling
    E[x_k^2], as GPTQ does (Frantar et al. 2023).

    1. Column k takes the codes of mu' and sigma' whose rounded samples have the wanted mean and
       deviation, nearly: those with the least (E - mean)^2 + price*(sqrt(V) - deviation)^2.
    2. The error of the mean is passed on to the columns that follow, as GPTQ does.
    3. The error of the variance is passed on too. Each output has sum_k E[x_k^2] V_k to spend, and
       one factor on the wanted variances of the columns left makes the sum right.

    With `products` None every input counts alike, and the error of the mean is not passed on. A
    sigma of 0 stays 0, and others keep their signs. NotFitted if `products` are infinite or NaN.
    """
    inverse, squares = _inverse(products, mu[0].size)
    fitting = _Fitting.of(mu, sigma, quant, inverse, squares)
    fitting.run()
    return fitting.parameters(mu, sigma)


def _inverse(products: Float64 | None, inputs: int) -> tuple[Inverse | None, Float64]:
    """The inverse of the damped products, and the mean squares of the inputs."""
    if products is None:
        return None, np.ones(inputs)
    if not np.isfinite(products).all():
        raise NotFitted("its inputs are infinite, or too large to be squared")
    squares = np.diag(products).copy()
    mean = squares.mean()
    if mean <= 0:
        return None, np.ones(inputs)
    for damping in _DAMPINGS:
        try:
            return Inverse.of(products + damping * mean * np.eye(inputs)), squares
        except np.linalg.LinAlgError:
            continue
    raise NotFitted("the products of its inputs are not positive definite")


class _Fitting:
    """One run: columns in the order of `inverse`, everything in codes above the lowest one."""

    def __init__(
        self,
        means: Float64,
        deviations: Float64,
        quant: QuantParams,
        grids: tuple[QuantParams, QuantParams],
        inverse: Inverse | None,
        squares: Float64,
    ) -> None:
        self.inverse, self.grids = inverse, grids
        self.order = np.arange(len(squares)) if inverse is None else inverse.order
        rows = len(means)
        scale, zero = (
            np.broadcast_to(np.asarray(each, np.float64), rows)
            for each in (quant.scale, quant.zero_point)
        )
        self.base, self.steps = quant.low - zero, quant.high - quant.low
        self.unit, self.tick = (
            np.broadcast_to(np.asarray(grid.scale, np.float64), rows) / scale for grid in grids
        )
        self.left = (means / scale[:, None] - self.base[:, None])[:, self.order]
        self.wanted = (deviations / scale[:, None])[:, self.order]
        self.squares = squares[self.order]
        spent = (self.wanted**2 * self.squares)[:, ::-1]
        self.to_spend = np.cumsum(spent, axis=1)[:, ::-1]
        self.owed = np.zeros(rows)
        self.mu_codes, self.sigma_codes = (np.empty(self.left.shape) for _ in range(2))

    @classmethod
    def of(
        cls,
        mu: Array,
        sigma: Array,
        quant: QuantParams,
        inverse: Inverse | None,
        squares: Float64,
    ) -> _Fitting:
        means, deviations = (
            values.reshape(len(mu), -1).astype(np.float64) for values in (mu, np.abs(sigma))
        )
        reach = np.abs(means).max(axis=1) + _MU_ROOM * np.asarray(quant.scale)
        grids = sampling_quants(
            reach[:, None], _SIGMA_ROOM * deviations, _BITS, channels=quant.axis is not None
        )
        return cls(means, deviations, quant, grids, inverse, squares)

    def run(self) -> None:
        for start in range(0, len(self.order), _BLOCK):
            stop = min(start + _BLOCK, len(self.order))
            errors = np.empty((len(self.left), stop - start))
            for k in range(start, stop):
                error = self.left[:, k] - self.column(k)
                if self.inverse is not None:
                    upper = self.inverse.upper[k, k:stop]
                    error = error / upper[0]
                    self.left[:, k:stop] -= np.outer(error, upper)
                errors[:, k - start] = error
            if self.inverse is not None:
                upper = self.inverse.upper[start:stop, stop:]
                self.left[:, stop:] -= product(errors, upper, _SLICES)

    def column(self, k: int) -> Float64:
        """Choose the codes of mu' and sigma' of column k, and return the means of its samples."""
        wanted, rest = self.wanted[:, k], self.to_spend[:, k]
        factor = 1 + self.owed / np.where(rest > 0, rest, 1.0)
        goal = wanted * np.sqrt(np.clip(factor, 0.0, _MOST_FACTOR))
        aim = np.clip(self.left[:, k], 0, self.steps)
        mean, deviation = best_distribution(aim, goal, self.steps, _PRICE)
        low_mu = np.floor((mean + self.base) / self.unit)
        low_sigma = np.floor(deviation / self.tick)
        mu = np.clip(np.stack([low_mu, low_mu + 1] * 2), -_LARGEST, _LARGEST)
        sigma = np.stack([low_sigma, low_sigma, low_sigma + 1, low_sigma + 1])
        sigma = np.where(wanted > 0, np.clip(sigma, 0, _LARGEST), 0.0)
        given, variance = sample_moments(mu * self.unit - self.base, sigma * self.tick, self.steps)
        costs = (given - aim) ** 2 + _PRICE * (np.sqrt(variance) - goal) ** 2
        best = costs.argmin(axis=0), np.arange(len(aim))
        self.mu_codes[:, k], self.sigma_codes[:, k] = mu[best], sigma[best]
        self.owed += self.squares[k] * (wanted**2 - variance[best])
        chosen: Float64 = given[best]
        return chosen

    def parameters(self, mu: Array, sigma: Array) -> SampledParameters:
        back = np.argsort(self.order)
        signs = np.where(sigma < 0, -1.0, 1.0)
        found = []
        for codes, grid in zip((self.mu_codes, self.sigma_codes), self.grids, strict=True):
            scale = np.broadcast_to(np.asarray(grid.scale, np.float64), len(codes))
            found.append((codes[:, back] * scale[:, None]).reshape(mu.shape))
        return SampledParameters(
            found[0].astype(np.float32), (found[1] * signs).astype(np.float32), *self.grids
        )
