"""An object of a library, and the small network and rows that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A source for qbnnc.compile.

    `weights` draws all random weights by the object's own code, `outputs` those of one sample for
    rows [B, 6].
    """

    source: object
    weights: Callable[[], Mapping[str, Tensor]]
    outputs: Callable[[Tensor], Tensor]


def rows(count: int = 128) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(3))


def targets() -> Tensor:
    x = rows()
    return torch.stack([x[:, 0] + x[:, 1], x[:, 2]], dim=1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).eval()
