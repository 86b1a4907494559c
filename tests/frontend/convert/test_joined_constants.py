"""Numbers that all rows repeat: joined with activations, or more of them than a row has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.support.errors import CompileError
from tests.frontend.outputs import outputs_of


class Token(nn.Module):
    """Joins a token with a row; `static` gives the batch as a number that tracing keeps."""

    def __init__(self, *, static: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.static = nn.Linear(4, 3), static
        self.token = nn.Parameter(torch.randn(1, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        rows = len(x) if self.static else x.shape[0]
        return torch.cat([self.token.expand(rows, -1, -1), self.layer(x)], dim=1)


@pytest.mark.parametrize("static", [True, False])
def test_a_token_in_front(static: bool) -> None:
    net, x = Token(static=static).eval(), torch.randn(3, 2, 4)
    graph = read_module(net, x[:2])
    with torch.no_grad():
        expected = net(x).numpy()
    (found,) = outputs_of(graph, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


class Places(nn.Module):
    """Joins each row with numbers of its place in the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.eye(len(x), 3), torch.tanh(x)], dim=1)


def test_numbers_that_differ_by_row_are_refused() -> None:
    with pytest.raises(CompileError):
        read_module(Places(), torch.randn(2, 4))


class Centres(nn.Module):
    """Radial basis functions: squared distances from centres, with a width for each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)
        self.centres = nn.Parameter(torch.randn(5, 3))
        self.widths = nn.Parameter(torch.rand(5, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        apart = (self.layer(x).unsqueeze(1) - self.centres) ** 2
        return torch.exp(-(apart * self.widths).sum(-1))


def test_centres_of_radial_basis_functions() -> None:
    net, x = Centres().eval(), torch.randn(3, 4)
    graph = read_module(net, x[:2])
    with torch.no_grad():
        expected = net(x).numpy()
    (found,) = outputs_of(graph, x)
    assert found.shape == (3, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
