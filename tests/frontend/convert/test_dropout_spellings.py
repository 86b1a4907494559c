"""However dropout is written, the graph is the same."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli

from qbnnc.frontend import read_module
from qbnnc.ir.graph import Graph
from qbnnc.ir.ops import KeepMask, Mask
from qbnnc.support.errors import CompileError
from tests.examples import slow_but
from tests.frontend.nets import Around, Spelled


def sample(distribution: Bernoulli, like: Tensor) -> Tensor:
    drawn: Tensor = distribution.sample(like.shape)
    return drawn


A_DROPOUT = {
    "functional": lambda h: F.dropout(h, 0.2, training=True),
    "in place": lambda h: F.dropout(h, 0.2, training=True, inplace=True),
    "native_dropout": lambda h: torch.native_dropout(h, 0.2, True)[0],
    "bernoulli of a tensor": lambda h: h * torch.bernoulli(torch.full_like(h, 0.8)) / 0.8,
    "bernoulli of p": lambda h: h * torch.bernoulli(h, p=0.8) * 1.25,
    "bernoulli in place": lambda h: h * torch.empty_like(h).bernoulli_(0.8) / 0.8,
    "Bernoulli distribution": lambda h: h * sample(Bernoulli(0.8), h) / 0.8,
    "rand above": lambda h: h * (torch.rand_like(h) > 0.2) / 0.8,
    "rand below": lambda h: (torch.rand(h.shape) < 0.8).float() * h / 0.8,
    "number compared": lambda h: h * (torch.tensor(0.2) < torch.rand_like(h)) / 0.8,
    "scaled mask": lambda h: h * ((torch.rand(h.shape) < 0.8).float() / 0.8),
    "inverted mask": lambda h: h * (1 - torch.bernoulli(torch.full_like(h, 0.2))) / 0.8,
    "not a mask": lambda h: h * (~(torch.rand_like(h) < 0.2)).type_as(h) / 0.8,
    "uniform_": lambda h: h * (torch.empty_like(h).uniform_() > 0.2) / 0.8,
    "floor": lambda h: h * torch.floor(torch.rand_like(h) + 0.8) / 0.8,
    "where": lambda h: torch.where(torch.rand_like(h) < 0.2, 0.0, h) / 0.8,
    "masked_fill": lambda h: h.masked_fill(torch.rand_like(h) < 0.2, 0) / 0.8,
    "dropout of ones": lambda h: h * F.dropout(torch.ones_like(h), 0.2, training=True),
}
X = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))


def graph_of(layer: nn.Module) -> Graph:
    torch.manual_seed(0)
    return read_module(Around(layer).train(), X)


def text_of(layer: nn.Module) -> str:
    """The graph's text without the lines of the source."""
    return re.sub(r" \(\w+\.py:\d+\)", "", str(graph_of(layer)))


@pytest.fixture(scope="module")
def reference() -> str:
    return text_of(nn.Dropout(0.2))


def test_the_reference_is_one_mask() -> None:
    random = [n for n in graph_of(nn.Dropout(0.2)).nodes if isinstance(n.op, KeepMask | Mask)]
    assert [(n.output.name, n.op, n.loc.module) for n in random] == [
        ("layer.keep", KeepMask((6,), 0.2, 0), "layer"),
        ("layer", Mask(1.25), "layer"),
    ]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "spelling", slow_but(["floor", "rand below", "inverted mask", "masked_fill"], A_DROPOUT)
)
def test_same_graph(spelling: str, reference: str) -> None:
    assert text_of(Spelled(A_DROPOUT[spelling])) == reference


def test_mask_without_the_factor() -> None:
    graph = graph_of(Spelled(lambda h: h * torch.bernoulli(torch.full_like(h, 0.8))))
    assert [n.op for n in graph.nodes if isinstance(n.op, Mask)] == [Mask(1.0)]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Dropout1d(0.3), (3, 2)),
        (nn.Dropout2d(0.3), (3, 2, 1)),
        (nn.Dropout3d(0.3), (3, 2, 1, 1)),
    ],
)
def test_feature_dropout_has_one_lane_a_channel(layer: nn.Module, shape: tuple[int, ...]) -> None:
    inner = nn.Sequential(nn.Unflatten(1, shape), layer, nn.Flatten())
    graph = graph_of(inner)
    masks = [n.op for n in graph.nodes if isinstance(n.op, KeepMask)]
    assert masks == [KeepMask((3, *[1] * (len(shape) - 1)), 0.3, 0)]


def test_a_mask_shared_by_the_rows() -> None:
    graph = graph_of(Spelled(lambda h: h * torch.bernoulli(torch.full((6,), 0.8)) / 0.8))
    assert [n.op for n in graph.nodes if isinstance(n.op, KeepMask)] == [
        KeepMask((6,), 0.2, 0, shared=True)
    ]


def test_streams_are_numbered_in_order_of_execution() -> None:
    def two(h: Tensor) -> Tensor:
        first, second = F.dropout(h, 0.1, training=True), F.dropout(h, 0.2, training=True)
        return second + first

    graph = graph_of(Spelled(two))
    streams = {n.op.p: n.op.stream for n in graph.nodes if isinstance(n.op, KeepMask)}
    assert streams == {0.1: 0, 0.2: 1}


def test_one_mask_used_twice_is_drawn_once() -> None:
    def twice(h: Tensor) -> Tensor:
        mask = (torch.rand_like(h) > 0.5).float()
        return h * mask + 2 * h * mask

    graph = graph_of(Spelled(twice))
    assert sum(isinstance(n.op, KeepMask) for n in graph.nodes) == 1
    assert sum(isinstance(n.op, Mask) for n in graph.nodes) == 2


def test_dropout_that_drops_nothing_disappears() -> None:
    graph = graph_of(nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.5)))
    assert [n.op for n in graph.nodes if isinstance(n.op, KeepMask)] == [KeepMask((6,), 0.5, 0)]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Dropout(1.0), r"^layer \(.*probability 1"),
        (Spelled(lambda h: h * (torch.rand_like(h) > 1.5)), r"^layer \(.*probability 1\.5"),
        (nn.AlphaDropout(0.1), r"^layer \(.*alpha.dropout"),
        (Spelled(lambda h: h + torch.randperm(6)), r"^layer \(.*noise is added to activations"),
        (
            Spelled(lambda h: h * torch.bernoulli(torch.rand(6).expand(h.shape))),
            r"^layer \(.*probability for each element",
        ),
    ],
)
def test_not_supported_by_name(layer: nn.Module, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        graph_of(layer)
