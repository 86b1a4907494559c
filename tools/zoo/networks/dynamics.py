"""Models of dynamics, as reinforcement learning plans with them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.zoo.cart_pole import cart_pole
from tools.zoo.losses import GAUSSIAN
from tools.zoo.network import Network

STATE, ACTION, WIDTH, MEMBERS = 4, 1, 32, 5
BAG = 0.632  # the share of rows in a bootstrap of as many draws as rows


class ProbabilisticEnsemble(nn.Module):
    """Members in one module: weights [members, inputs, outputs], swish, bounded log variances.

    The bounds are learnt with the weights, and cost 0.01 a unit in the paper's code. Here the data
    decide alone. Each member learns from its own bag of rows, and from no other row.
    """

    _digits: Tensor

    def __init__(self) -> None:
        super().__init__()
        sizes = [(STATE + ACTION, WIDTH), (WIDTH, WIDTH), (WIDTH, 2 * STATE)]
        self.weights = nn.ParameterList(
            nn.init.trunc_normal_(torch.empty(MEMBERS, *size), std=1 / (2 * size[0] ** 0.5))
            for size in sizes
        )
        self.biases = nn.ParameterList(torch.zeros(MEMBERS, 1, size[1]) for size in sizes)
        self.max_logvar = nn.Parameter(torch.full((1, STATE), 0.5))
        self.min_logvar = nn.Parameter(torch.full((1, STATE), -10.0))
        self.register_buffer("_digits", 1000 * torch.randn(STATE + ACTION, MEMBERS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = x.unsqueeze(0).expand(MEMBERS, -1, -1)
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden.matmul(weight) + bias
            if number < len(self.weights) - 1:
                hidden = hidden * torch.sigmoid(hidden)
        mean, log_var = hidden[:, :, :STATE], hidden[:, :, STATE:]
        log_var = self.max_logvar - F.softplus(self.max_logvar - log_var)
        log_var = self.min_logvar + F.softplus(log_var - self.min_logvar)
        if self.training:
            learnt = self._bags(x)
            mean, log_var = (torch.where(learnt, y, y.detach()) for y in (mean, log_var))
        return mean, log_var

    def _bags(self, x: Tensor) -> Tensor:
        """Whether a member learns from a row [members, N, 1]: far digits of the row decide."""
        return ((x @ self._digits).T.frac().abs() < BAG).unsqueeze(2)


NETWORKS = (
    Network(
        "PETS dynamics",
        "chua2018",
        ProbabilisticEnsemble,
        cart_pole,
        GAUSSIAN,
        300,
        posterior=f"{MEMBERS} members in one module",
    ),
)
