"""Constants that forward makes from nothing keep torch's types: booleans, whole numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.evaluate import evaluate
from qbnnc.ir.rng import Draw

T = 5


def causal(x: Tensor) -> Tensor:
    later = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    return x.masked_fill(later, -2.0)


def inverted(x: Tensor) -> Tensor:
    return x * ~torch.ones(T, T, dtype=torch.bool).triu(1)


def of_batch(x: Tensor) -> Tensor:
    later = x.new_ones(x.shape[0], T, T, dtype=torch.bool).triu(1)
    return x.masked_fill(later, -2.0)


def inverted_of_batch(x: Tensor) -> Tensor:
    return x * ~torch.zeros(x.shape[0], T, T, dtype=torch.bool)


def counted(x: Tensor) -> Tensor:
    return x[:, torch.ones(3, dtype=torch.long).cumsum(0)]


def indexed(x: Tensor) -> Tensor:
    return x[:, torch.full((2,), 3, dtype=torch.long)]


def divided(x: Tensor) -> Tensor:
    return x + torch.full((T,), 7) // torch.full((T,), 2)


def joined(x: Tensor) -> Tensor:
    seen = torch.cat([torch.zeros(2, dtype=torch.bool), torch.ones(T - 2, dtype=torch.bool)])
    return torch.where(seen, x, x * 3)


class Of(nn.Module):
    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.how, self.first = how, nn.Linear(T, T)

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self.first(x))


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "how", [causal, inverted, of_batch, inverted_of_batch, counted, indexed, divided, joined]
)
def test_constants_keep_their_types(how: Callable[[Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    net, x = Of(how).eval(), torch.randn(4, T, T)
    (found,) = evaluate(read_module(net, x[:2]), x.numpy(), Draw.of(0, [0], range(4)))
    with torch.no_grad():
        np.testing.assert_allclose(found[0], net(x).numpy(), atol=1e-5)
