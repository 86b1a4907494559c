"""What networks learn by, and what their samples say: classes, or a mean with its deviation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Float64 = NDArray[np.float64]
Outputs = tuple[Tensor, ...]
Samples = tuple[Float64, ...]


@dataclass(frozen=True, slots=True)
class Classes:
    """Probabilities [N, K, ...], and their standard deviation over samples."""

    p: Float64
    spread: Float64

    @staticmethod
    def of(each: Float64) -> Classes:
        """The mean and deviation of the probabilities [L, N, K, ...] of each sample."""
        return Classes(each.mean(axis=0), each.std(axis=0))


@dataclass(frozen=True, slots=True)
class Moments:
    """The mean and the standard deviation [N, ...] that a network predicts.

    `spread` is the deviation of samples' means alone, which is epistemic.
    """

    mean: Float64
    std: Float64
    spread: Float64

    @staticmethod
    def of(means: Float64, variances: Float64 | float) -> Moments:
        """The moments of a mixture of samples, by their means and variances [L, N, ...]."""
        spread = means.std(axis=0)
        noise = np.broadcast_to(variances, means.shape).mean(axis=0)
        return Moments(means.mean(axis=0), np.sqrt(noise + spread**2), spread)


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss, the task of the compiled network, and what samples [L, N, ...] of outputs say.

    `classes` says whether targets are classes.
    """

    of: Callable[[Outputs, Tensor], Tensor]
    task: str
    says: Callable[[Samples], Classes | Moments]
    classes: bool = False


def _cross_entropy(outputs: Outputs, y: Tensor) -> Tensor:
    return F.cross_entropy(outputs[0], y)


def _log_likelihood(outputs: Outputs, y: Tensor) -> Tensor:
    """The negative logarithm of the probabilities that the network gives itself."""
    return F.nll_loss(outputs[0].clamp_min(1e-6).log(), y)


def _mean_softmax(samples: Samples) -> Classes:
    shifted = np.exp(samples[0] - samples[0].max(axis=2, keepdims=True))
    return Classes.of(shifted / shifted.sum(axis=2, keepdims=True))


def _mean(samples: Samples) -> Classes:
    return Classes.of(samples[0])


def _squares(outputs: Outputs, y: Tensor) -> Tensor:
    return F.mse_loss(outputs[0], y)


def _evidence_bound(outputs: Outputs, y: Tensor) -> Tensor:
    """Squares, and KL(N(mu, sigma^2) || N(0, 1)) of the code, equation 10 of Kingma and Welling.

    The second output is mu, the third sigma; pixels have a standard deviation of 0.2.
    """
    made, mu, sigma = outputs
    divergence = (mu**2 + sigma**2 - 2 * torch.log(sigma) - 1).sum(1) / 2
    return (((made - y) / 0.2) ** 2).sum(1).mean() / 2 + divergence.mean()


def _spread(samples: Samples) -> Moments:
    return Moments.of(samples[0], 0.0)


def _gaussian(outputs: Outputs, y: Tensor) -> Tensor:
    mean, log_var = outputs
    return (log_var + (y - mean) ** 2 * torch.exp(-log_var)).mean() / 2


def _gaussian_moments(samples: Samples) -> Moments:
    mean, log_var = samples
    return Moments.of(mean, np.exp(log_var))


def _positive(outputs: Outputs, y: Tensor) -> Tensor:
    mean, deviation = outputs
    return (torch.log(deviation) + ((y - mean) / deviation) ** 2 / 2).mean()


def _positive_moments(samples: Samples) -> Moments:
    mean, deviation = samples
    return Moments.of(mean, deviation**2)


def _mixture(outputs: Outputs, y: Tensor) -> Tensor:
    """Bishop 1994, equation 22: the density of K Gaussians, of which y [N, 1] is one draw."""
    logits, means, log_std = outputs
    apart = ((y - means) * torch.exp(-log_std)) ** 2 / 2
    return -torch.logsumexp(torch.log_softmax(logits, 1) - log_std - apart, 1).mean()


def _mixture_moments(samples: Samples) -> Moments:
    logits, means, log_std = samples
    weights = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    mean = (weights * means).sum(axis=2, keepdims=True)
    squares = weights * (means**2 + np.exp(2 * log_std))
    return Moments.of(mean, squares.sum(axis=2, keepdims=True) - mean**2)


def _evidential(outputs: Outputs, y: Tensor) -> Tensor:
    """Amini et al. 2020, equations 8 and 9: Student's t, and evidence where it is wrong."""
    gamma, nu, alpha, beta = outputs
    omega = 2 * beta * (1 + nu)
    likelihood = (
        0.5 * torch.log(torch.pi / nu)
        - alpha * torch.log(omega)
        + (alpha + 0.5) * torch.log((y - gamma) ** 2 * nu + omega)
        + torch.lgamma(alpha)
        - torch.lgamma(alpha + 0.5)
    )
    return (likelihood + 0.05 * (y - gamma).abs() * (2 * nu + alpha)).mean()


def _evidential_moments(samples: Samples) -> Moments:
    """E[sigma^2] = beta / (alpha - 1) and Var[mu] = E[sigma^2] / nu, their equation 5, together."""
    gamma, nu, alpha, beta = samples
    return Moments.of(gamma, beta / (alpha - 1) * (1 + 1 / nu))


def _dirichlet(outputs: Outputs, y: Tensor) -> Tensor:
    """Sensoy et al. 2018, equation 5: the expected squares under a Dirichlet distribution."""
    alpha = outputs[0]
    strength = alpha.sum(1, keepdim=True)
    p = alpha / strength
    wrong = (F.one_hot(y, alpha.shape[1]) - p) ** 2
    return (wrong + p * (1 - p) / (strength + 1)).sum(1).mean()


def _dirichlet_mean(samples: Samples) -> Classes:
    return Classes.of(samples[0] / samples[0].sum(axis=2, keepdims=True))


def _quantiles(outputs: Outputs, y: Tensor) -> Tensor:
    """The pinball loss of the 10, 50 and 90 % quantiles."""
    levels = (0.1, 0.5, 0.9)
    parts = [
        torch.maximum(q * (y - f), (q - 1) * (y - f)) for q, f in zip(levels, outputs, strict=True)
    ]
    return torch.stack(parts).mean()


def _quantile_moments(samples: Samples) -> Moments:
    """The median, and the distance of the outer quantiles as a Gaussian's deviation."""
    low, middle, high = samples
    return Moments.of(middle, ((high - low) / 2.5631) ** 2)


CLASSES = Loss(_cross_entropy, "classification", _mean_softmax, classes=True)
PROBABILITIES = Loss(_log_likelihood, "raw", _mean, classes=True)
DIRICHLET = Loss(_dirichlet, "raw", _dirichlet_mean, classes=True)
SQUARES = Loss(_squares, "raw", _spread)
EVIDENCE_BOUND = Loss(_evidence_bound, "raw", _spread)
GAUSSIAN = Loss(_gaussian, "raw", _gaussian_moments)
DEVIATION = Loss(_positive, "raw", _positive_moments)
MIXTURE = Loss(_mixture, "raw", _mixture_moments)
EVIDENTIAL = Loss(_evidential, "raw", _evidential_moments)
QUANTILES = Loss(_quantiles, "raw", _quantile_moments)
