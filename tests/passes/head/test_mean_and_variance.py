"""The axis of an output whose halves could be a mean and a log variance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.passes.head.mean_and_variance import mean_and_variance_axis


class Net(nn.Module):
    """Layers of four outputs on [B, 4, 6], and what `function` makes of one."""

    def __init__(self, function: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.conv = nn.Linear(6, 4), nn.Conv1d(4, 2, 1)
        self.flat, self.function = nn.Linear(24, 4), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("function", "axis"),
    [
        (lambda net, x: net.flat(x.flatten(1)), 0),
        (lambda net, x: net.linear(x), 1),
        (lambda net, x: F.softplus(net.linear(x)), 1),
        (lambda net, x: net.linear(x).transpose(1, 2), 0),
        (lambda net, x: net.linear(x).unsqueeze(1), 2),
        (lambda net, x: net.conv(x), 0),
        (lambda net, x: net.conv(x).transpose(1, 2), 1),
        (lambda net, x: net.conv(x)[:, :1], None),
        (lambda net, x: torch.cat([net.conv(x), net.conv(x)], 2), 1),
        (lambda net, x: net.linear(x).mean(1, keepdim=True), None),
    ],
)
def test_axis(function: Callable[[Net, Tensor], Tensor], axis: int | None) -> None:
    net = Net(function).eval()
    assert mean_and_variance_axis(read_module(net, torch.randn(2, 4, 6))) == axis
