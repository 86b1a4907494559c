"""Attention in every spelling: the FLOAT graph computes what the module does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qbnnc.frontend import Dropout, read_module
from qbnnc.ir.ops import KeepMask, MatMul, Multiply, Softmax
from qbnnc.support.errors import CompileError
from tests.frontend.attention import NETWORKS, STOCHASTIC, block, made
from tests.frontend.attention_scores import HEADS, D, T
from tests.graphs import run


@pytest.mark.sample(20)
@pytest.mark.few(6)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_computes_what_the_module_does(name: str) -> None:
    net, shape = made(name)
    x = torch.randn(5, *shape)
    dropout: Dropout | None = "off" if name in STOCHASTIC else None
    graph = read_module(net, x, dropout=dropout)
    expected = made(name, p=0.0)[0](x).detach().numpy()
    found = run(graph, x.numpy())[0][0]
    np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-5)


def kinds(name: str) -> list[str]:
    net, shape = made(name)
    graph = read_module(net, torch.randn(2, *shape), dropout="off" if name in STOCHASTIC else None)
    return [type(node.op).__name__ for node in graph.nodes]


def test_attention_is_two_products_and_a_softmax() -> None:
    for name in ("scores: plain", "scores: op", "scores: einsum", "self", "hand-written"):
        found = kinds(name)
        counts = [found.count(op.__name__) for op in (MatMul, Softmax, Multiply)]
        assert counts == [2, 1, 0], name


@pytest.mark.parametrize("name", STOCHASTIC)
def test_masks_of_attention_weights(name: str) -> None:
    """Each of the heads has a mask of all pairs of positions."""
    net, shape = made(name)
    graph = read_module(net, torch.randn(2, *shape), dropout="active")
    masks = [node.op.shape for node in graph.nodes if isinstance(node.op, KeepMask)]
    assert masks == STOCHASTIC[name]


class Applied(nn.Module):
    """A layer, and what is tried of its output."""

    def __init__(self, tried: object) -> None:
        super().__init__()
        self.first, self.tried = nn.Linear(D, D), tried

    def forward(self, x: Tensor) -> Tensor:
        assert callable(self.tried)
        y: Tensor = self.tried(self.first(x))
        return y


SQUARE = torch.linspace(-1, 1, D * D).reshape(D, D)
SQUARES = torch.linspace(-1, 1, T * D * D).sin().reshape(T, D, D)
CONTRACTIONS = {
    "matmul": lambda y: y @ y.mT,
    "the same twice": lambda y: torch.matmul(y, y.transpose(1, 2)),
    "vector": lambda y: y @ y[:, 0, :, None],
    "batched vector": lambda y: torch.einsum("btd,bd->bt", y, y[:, 1]),
    "diagonal": lambda y: torch.einsum("btd,btd->bt", y, y.flip(1)),
    "everything": lambda y: torch.einsum("btd,bsd->b", y, y),
    "left alone": lambda y: torch.einsum("bte,bsd->btd", y, y),
    "three pairs": lambda y: torch.einsum(
        "bhtij,bhtjk->bhtki", y.reshape(-1, 2, 3, 2, 4), y.reshape(-1, 2, 3, 4, 2)
    ),
    "broadcast": lambda y: y.reshape(-1, 2, 3, D) @ y[:, :1].reshape(-1, 1, D, 1),
    "columns": lambda y: torch.einsum("bti,btj->bji", y, y[..., :3]),
    "two inner axes": lambda y: torch.einsum(
        "btxy,bsyx->bts", y.reshape(-1, T, 2, 4), y.reshape(-1, T, 4, 2)
    ),
    "three factors": lambda y: torch.einsum("bti,ij,btj->bt", y, SQUARE, y),
    "three factors, a matrix for each": lambda y: torch.einsum("bti,tij,bsj->bst", y, SQUARES, y),
    "four factors": lambda y: torch.einsum("bti,ij,btj,tk->bk", y, SQUARE, y.relu(), SQUARES[:, 0]),
    "three of the rows": lambda y: torch.einsum("bti,bsi,bsk->btk", y, y.flip(1), y[..., :2]),
    "baddbmm": lambda y: torch.baddbmm(y, y, y.mT @ y, beta=0.5, alpha=2.0),
    "baddbmm of a constant": lambda y: torch.baddbmm(torch.ones(1, T, T), y, y.mT, beta=3.0),
    "baddbmm without": lambda y: torch.baddbmm(torch.ones(1, T, T), y, y.mT, beta=0, alpha=0.5),
    "vecdot": lambda y: torch.linalg.vecdot(y, y.flip(1), dim=1),
    "learned queries": lambda y: torch.arange(24.0).reshape(1, 3, D).expand(len(y), 3, D) @ y.mT,
    "values of all rows": lambda y: y @ y.mT @ torch.ones(1, T, 2).expand(len(y), T, 2),
    "token in front": lambda y: torch.cat([torch.ones(1, 1, D).expand(len(y), 1, D), y], 1),
    "tokens between": lambda y: torch.cat(
        [y, torch.arange(8.0).expand(len(y), 2, D), y, torch.zeros(len(y), 1, D)], 1
    ),
    "features": lambda y: torch.cat([y, torch.arange(3.0).expand(len(y), T, 3)], 2),
}


@pytest.mark.few(5)
@pytest.mark.parametrize("name", CONTRACTIONS)
def test_contractions_and_joined_constants(name: str) -> None:
    torch.manual_seed(1)
    net, x = Applied(CONTRACTIONS[name]).eval(), torch.randn(4, T, D)
    found = run(read_module(net, x), x.numpy())[0][0]
    np.testing.assert_allclose(found, net(x).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_a_product_reads_its_factors_as_they_lie() -> None:
    """[T, D] times [T, D] transposed needs no transpose."""
    graph = read_module(Applied(lambda y: y @ y.mT).eval(), torch.randn(2, T, D))
    assert graph.nodes[-1].op == MatMul(transposed=False)
    assert [v.type.shape for v in graph.nodes[-1].inputs] == [(T, D), (D, T)]


REFUSED = {
    "infinity that no softmax reads": (
        lambda y: y.masked_fill(y[..., :1] > 0, -torch.inf).relu(),
        r"masked_fill: .*not finite",
    ),
    "along the batch": (
        lambda y: torch.cat([y, torch.zeros_like(y)], 0),
        r"joined along the batch",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    tried, message = REFUSED[name]
    with pytest.raises(CompileError, match=message):
        read_module(Applied(tried).eval(), torch.randn(2, T, D))


def test_torch_is_left_as_it_was() -> None:
    """Tracing puts the fused form of attention back."""
    before = torch.backends.mha.get_fastpath_enabled()
    asked = nn.modules.transformer._detect_is_causal_mask
    read_module(nn.Sequential(nn.Linear(D, D), block()).eval(), torch.randn(2, T, D))
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert nn.modules.transformer._detect_is_causal_mask is asked


def test_heads_are_pairs_of_matrices() -> None:
    net, shape = made("scores: plain")
    graph = read_module(net, torch.randn(2, *shape))
    products = [node for node in graph.nodes if isinstance(node.op, MatMul)]
    assert [node.output.type.shape for node in products] == [(HEADS, T, T), (HEADS, T, D // HEADS)]
