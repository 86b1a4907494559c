"""One noise tensor with several uses of either sign: the values are the module's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import Affine, BatchNorm
from qbnnc.passes.fusion.fold_affine import FoldAffine
from tests.frontend.convert.coupled import ROWS, assert_coupled
from tests.frontend.nets import randomise_batch_norm

X = torch.randn(ROWS, 8, generator=torch.Generator().manual_seed(0))


class Noisy(nn.Module):
    """Parameters of weights [3, 4]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.mu = nn.Parameter(torch.randn(3, 4))
        self.sigma = nn.Parameter(torch.rand(3, 4) + 0.2)
        self.a, self.b = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
        randomise_batch_norm(self)

    def sample(self) -> Tensor:
        return self.mu + self.sigma * torch.randn_like(self.mu)


class Siamese(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        w = self.sample()
        return F.linear(x[:, :4], w) - F.linear(x[:, 4:], w)


class TiedNorms(Noisy):
    """One weight, and norms whose scales have either sign."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.sample()
        total: Tensor = self.a(F.linear(x[:, :4], w)) + self.b(F.linear(x[:, 4:], w))
        return total


class MinusSigma(Noisy):
    def forward(self, x: Tensor) -> Tensor:
        eps = torch.randn_like(self.mu)
        plus, minus = self.mu + self.sigma * eps, self.mu - self.sigma * eps
        return F.linear(x[:, :4], plus) + F.linear(x[:, 4:], minus)


class TwoHeads(Noisy):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        w, h = self.sample(), x[:, :4]
        return F.linear(h, w), -2 * F.linear(h, w)


class MixedSlopes(Noisy):
    """rho of either sign taken for sigma, and rows that take one noise with either sign."""

    def forward(self, x: Tensor) -> Tensor:
        eps = torch.randn(2, 4)
        rows = torch.cat([eps, -eps])
        return F.linear(x[:, :4], torch.cat([self.mu, self.mu[:1]]) + (self.sigma[:1] - 0.6) * rows)


class SlicedNoise(Noisy):
    """One noise tensor for weight and bias of two layers, transposed and negated."""

    def forward(self, x: Tensor) -> Tensor:
        eps = torch.randn(4, 7)
        first = F.linear(x[:, :4], self.mu - self.sigma * eps[:, :3].t(), 0.1 * eps[0, 4:])
        return first + F.linear(x[:, 4:], self.sigma + 0.3 * eps[:, 3:6].t())


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "kind", [Siamese, TiedNorms, MinusSigma, TwoHeads, MixedSlopes, SlicedNoise]
)
def test_the_values_are_those_of_the_module(kind: type[Noisy]) -> None:
    def rewritten(graph: Graph) -> Graph:
        after = FoldAffine()(graph)
        assert not any(isinstance(n.op, Affine | BatchNorm) for n in after.nodes)
        return after

    assert_coupled(kind().eval(), X)
    assert_coupled(kind().eval(), X, transform=rewritten)


@pytest.mark.few(0)
def test_equal_inputs_of_a_siamese_network_cancel() -> None:
    graph = read_module(Siamese().eval(), X)
    assert sum(n.op.name == "normal" for n in graph.nodes) == 1


class ByTheInput(Noisy):
    """Noise scaled by the input."""

    def forward(self, x: Tensor) -> Tensor:
        h = F.linear(x[:, :4], self.mu)
        return h + x[:, :3].abs() * torch.randn(3)


def test_noise_scaled_by_the_input() -> None:
    """The batch shares the noise: it is a weight of each feature."""
    assert_coupled(ByTheInput().eval(), X)
