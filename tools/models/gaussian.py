"""Bayes by Backprop: layers whose weights are independent Gaussians."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = 1e-8  # keeps the gradient of the square root finite where the input is all zero


class BBBLayer(nn.Module):
    """A layer with weights N(mu, softplus(rho)^2) and biases that are points.

    Training uses the local reparameterisation (Kingma et al. 2015). Evaluation draws one sample of
    the weights a call, which the batch shares.

    Args:
        shape: the weights' shape, the outputs first.
        sigma: the standard deviation that every weight starts with.
    """

    def __init__(self, shape: tuple[int, ...], sigma: float) -> None:
        super().__init__()
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight_mu = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.weight_rho = nn.Parameter(torch.full(shape, math.log(math.expm1(sigma))))
        self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-bound, bound))

    def sigma(self) -> Tensor:
        return F.softplus(self.weight_rho)

    def sampled(self) -> Tensor:
        sigma = self.sigma()
        return self.weight_mu + sigma * torch.randn_like(sigma)


class BBBLinear(BBBLayer):
    """Linear layer with Gaussian weights."""

    def __init__(self, in_features: int, out_features: int, sigma: float) -> None:
        super().__init__((out_features, in_features), sigma)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.linear(x, self.sampled(), self.bias)
        std = torch.sqrt(F.linear(x**2, self.sigma() ** 2) + TINY)
        return F.linear(x, self.weight_mu, self.bias) + std * torch.randn_like(std)


class BBBConv2d(BBBLayer):
    """Convolution with Gaussian weights."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        sigma: float,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__((out_channels, in_channels, kernel, kernel), sigma)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.conv2d(x, self.sampled(), self.bias, self.stride, self.padding)
        geometry = self.stride, self.padding
        std = torch.sqrt(F.conv2d(x**2, self.sigma() ** 2, None, *geometry) + TINY)
        mean = F.conv2d(x, self.weight_mu, self.bias, *geometry)
        return mean + std * torch.randn_like(std)
