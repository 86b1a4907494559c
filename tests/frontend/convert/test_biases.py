"""A bias written out after a product: its sign, its factor and its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qbnnc.ir.ops import Linear
from tests.frontend.outputs import assert_same, images

Written = Callable[[Tensor, Tensor, Tensor], Tensor]


class Layer(nn.Module):
    """A layer of 5 features and 3 outputs, written out."""

    def __init__(self, written: Written) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(3, 5, generator=generator))
        self.bias = nn.Parameter(torch.tensor([1.5, -0.75, 3.0]))
        self.written = written

    def forward(self, x: Tensor) -> Tensor:
        return self.written(x, self.weight, self.bias)


WRITTEN: dict[str, Written] = {
    "added": lambda x, w, b: x @ w.T + b,
    "added before": lambda x, w, b: b + x @ w.T,
    "subtracted": lambda x, w, b: x @ w.T - b,
    "taken three times": lambda x, w, b: torch.add(x @ w.T, b, alpha=3),
    "subtracted twice": lambda x, w, b: torch.sub(x @ w.T, b, alpha=2),
    "less the product": lambda x, w, b: b - x @ w.T,
    "less two products": lambda x, w, b: torch.sub(b, x @ w.T, alpha=2),
    "rsub": lambda x, w, b: torch.rsub(x @ w.T, b),
    "and two products": lambda x, w, b: torch.add(b, x @ w.T, alpha=2),
    "of a product that is negated": lambda x, w, b: -(x @ w.T) + b,
    "of one number": lambda x, w, b: x @ w.T - 0.5,
    "addmm": lambda x, w, b: torch.addmm(b, x, w.T, beta=2, alpha=-3),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("written", WRITTEN)
def test_as_torch(written: str) -> None:
    graph = assert_same(Layer(WRITTEN[written]).eval(), images(4, 5))
    assert sum(isinstance(n.op, Linear) for n in graph.nodes) == 1


@pytest.mark.few(2)
@pytest.mark.parametrize("written", ["added", "subtracted", "added before", "taken three times"])
def test_the_bias_is_the_layers(written: str) -> None:
    graph = assert_same(Layer(WRITTEN[written]).eval(), images(4, 5))
    assert [type(n.op) for n in graph.nodes] == [Linear]
