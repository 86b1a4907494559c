"""Norms, sums, means and extremes over axes, with the defaults that torch has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.frontend.outputs import assert_same, images


class Norms(nn.Module):
    """Norms of the rows of [3, 4], of each order."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            torch.linalg.norm(x, dim=2),
            torch.linalg.norm(x, 1, dim=2),
            torch.linalg.norm(x, torch.inf, dim=1),
            torch.linalg.vector_norm(x, dim=(1, 2)),
            torch.linalg.vector_norm(x, 2, dim=1, keepdim=True),
            x.norm(dim=2),
            x.norm(p=1, dim=1),
        )


def test_norms() -> None:
    assert_same(Norms(), images(5, 3, 4) * 2)


class Sums(nn.Module):
    """Sums, means and extremes of [2, 3, 4], with kept axes and without."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (
            x.sum(1),
            x.sum((2, 3), keepdim=True),
            x.mean(3),
            x.mean((1, 3), keepdim=True),
            x.amax((2, 3)),
            x.amin(1, keepdim=True),
            x.max(2).values,
            x.min(-1, keepdim=True).values,
            x.sum((1, 2, 3)),
        )


def test_sums_and_extremes() -> None:
    assert_same(Sums(), images(5, 2, 3, 4) - 0.5)
