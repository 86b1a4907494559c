"""Attention that drops nothing draws nothing, beside dropout of the network's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.frontend.torch_modes import drops_nothing


class Fused(nn.Module):
    """PyTorch's fused attention without dropout, then dropout that stays on."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.last = nn.Linear(8, 24), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unsqueeze(1) for part in self.qkv(x).chunk(3, dim=-1))
        seen = F.scaled_dot_product_attention(q, k, v).squeeze(1).mean(1)
        y: Tensor = self.last(F.dropout(seen, 0.25, training=True))
        return y


@pytest.mark.slow
def test_the_distribution_is_compared(tmp_path: Path) -> None:
    path = tmp_path / "net.qbnn"
    qbnnc.save(Fused().eval(), path, torch.randn(8, 5, 8))
    assert path.exists()


def test_what_attention_is_told() -> None:
    x = torch.zeros(1, 1, 2, 4)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    assert drops_nothing(fused, (x, x, x), {})
    assert drops_nothing(fused, (x, x, x, 0.0), {})
    assert not drops_nothing(fused, (x, x, x, 0.1), {})
    assert not drops_nothing(fused, (x, x, x), {"dropout_p": 0.2})
    assert not drops_nothing(torch.ops.aten.native_dropout.default, (x, 0.0, True), {})
