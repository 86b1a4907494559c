"""A concatenation's codes reach as far as each of the values that it joins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.ir.oracle import oracle_samples


class Joined(nn.Module):
    """Dropout scales one value; the range of that one has no room for the other, negative one."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.enter, self.leave, self.first = nn.Linear(4, 8), nn.Linear(16, 2), first

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.enter(x))
        pair = (F.dropout(hidden, 0.2, True), -hidden)
        y: Tensor = self.leave(torch.cat(pair if self.first else pair[::-1], 1))
        return y


@pytest.mark.few(1)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("scales", ["free", "pow2"])
def test_nothing_is_clipped(first: bool, scales: str, tmp_path: object) -> None:
    torch.manual_seed(0)
    net, x = Joined(first=first).eval(), torch.randn(128, 4)
    path = f"{tmp_path}/net.qbnn"
    model = qbnnc.compile(net, path, calibration=x.numpy(), bits="w8a8", scales=scales)
    (made,) = oracle_samples(model, x[:16].numpy(), samples=2000, seed=1)
    with torch.no_grad():
        wanted = torch.stack([net(x[:16]) for _ in range(2000)]).numpy()
    spread = wanted.std()
    assert np.abs(made.mean(0) - wanted.mean(0)).max() < 0.2 * spread
