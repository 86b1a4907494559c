"""Attention that drops nothing draws nothing, beside dropout of the network's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qbnnc
from qbnnc.frontend.torch_modes import draws


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


def test_fused_attention_is_no_draw_of_its_own() -> None:
    """torch marks it as random; on a CPU it is made of ops of which dropout alone draws."""
    assert not draws(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default)
    assert draws(torch.ops.aten.native_dropout.default)
