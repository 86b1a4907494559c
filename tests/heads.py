"""Networks whose outputs are written in the ways people write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 6


class Heads(nn.Module):
    """MC dropout, and what `returned` makes of the module and its hidden values [B, 16].

    `mean` and `second` are layers to `targets` values, `both` to twice as many.
    """

    def __init__(self, returned: Callable[[Heads, Tensor], object], targets: int = 1) -> None:
        super().__init__()
        self.trunk = nn.Linear(FEATURES, 16)
        self.mean, self.second = nn.Linear(16, targets), nn.Linear(16, targets)
        self.both = nn.Linear(16, 2 * targets)
        self.log_var = nn.Parameter(torch.tensor([0.5]))
        self.learnt = nn.Parameter(torch.linspace(-1, 1, targets))
        self.sigma = nn.Parameter(torch.tensor([0.25]))
        self.register_buffer("noise", torch.tensor([0.25]))
        self.noise: Tensor
        self.returned = returned

    def forward(self, x: Tensor) -> object:
        hidden = F.dropout(torch.relu(self.trunk(x)), 0.3, training=True)
        return self.returned(self, hidden)


class Normal(NamedTuple):
    loc: Tensor
    scale: Tensor


class Evidence(NamedTuple):
    """A normal-inverse-gamma head (Amini et al., 2020)."""

    gamma: Tensor
    nu: Tensor
    alpha: Tensor
    beta: Tensor


@dataclass
class Gaussian:
    mean: Tensor
    log_var: Tensor


def network(returned: Callable[[Heads, Tensor], object], targets: int = 1) -> Heads:
    torch.manual_seed(0)
    net = Heads(returned, targets)
    return net.eval()


def example(rows: int = 128) -> Tensor:
    return torch.randn(rows, FEATURES, generator=torch.Generator().manual_seed(1))
