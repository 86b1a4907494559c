"""The distribution check sees each kind of fault, and lets through what is right."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from qbnnc.frontend.distribution import (
    DistributionError,
    Effort,
    Quantity,
    Reference,
    Subject,
    check_distribution,
)
from qbnnc.frontend.distribution.coupled_calls import CALLS, coupled
from qbnnc.frontend.distribution.samples import graph_samples, module_samples
from qbnnc.frontend.distribution.statistics import compare
from qbnnc.frontend.module.training_mode import Dropout
from qbnnc.frontend.trace.any_batch import Traced, trace_for_any_batch
from qbnnc.ir.graph import Graph
from tests.frontend.distribution.faults import (
    FEATURES,
    MIDDLES,
    WIDTH,
    Body,
    Sampled,
    around,
    sampled_graph,
)

Middle = Callable[[Tensor], Tensor]


def rows(count: int = 32) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((count, FEATURES)).astype(np.float32)


def reference_of(net: nn.Module, dropout: Dropout | None = None) -> Reference:
    traced = trace_for_any_batch(net, torch.from_numpy(rows(2)), dropout)
    return Reference(net, traced, dropout)


def right(net: nn.Module) -> Subject:
    reference = reference_of(net)
    return Subject(reference, reference.traced.graph, reference.traced.graph)


def with_graph(net: nn.Module, graph: Graph) -> Subject:
    return Subject(reference_of(net), graph, graph)


RIGHT: dict[str, Middle] = {
    "dropout": lambda h: F.dropout(h, 0.3, True),
    "feature dropout": lambda h: F.dropout2d(h[:, :, None, None], 0.3, True).flatten(1),
    "uniform above": lambda h: h * (torch.rand_like(h) > 0.3) / 0.7,
    "uniform below": lambda h: h * (torch.rand_like(h) < 0.7),
    "floor": lambda h: h * (torch.rand(len(h), 1) + 0.8).floor(),
    "of the batch": lambda h: h * (torch.rand(WIDTH) >= 0.3),
    "Bernoulli": lambda h: h * torch.empty_like(h).bernoulli_(0.123456789),
    "a draw that nothing reads": lambda h: h * (torch.rand_like(h) < torch.rand(3).numel() / 4),
    "nothing random": lambda h: h,
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name: str) -> None:
    torch.manual_seed(1)
    net = Body(RIGHT[name]).eval()
    report = check_distribution([right(net)], rows())
    assert report.calls == CALLS
    assert (report.power is None) == (name == "nothing random")


@pytest.mark.few(1)
@pytest.mark.parametrize("name", MIDDLES)
def test_each_fault_is_found(name: str) -> None:
    torch.manual_seed(1)
    middle, fault = MIDDLES[name]
    net = Body(middle).eval()
    graph = around(net, fault)
    subject = Subject(_without_conversion(net), graph, graph)
    with pytest.raises(DistributionError, match="would not be the trained one"):
        check_distribution([subject], rows())


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "name", [n for n in MIDDLES if not n.startswith(("one draw", "a mask and its"))]
)
def test_sampling_alone_finds_it_too(name: str) -> None:
    torch.manual_seed(1)
    middle, fault = MIDDLES[name]
    net = Body(middle).eval()
    reference, x = _without_conversion(net), rows(4)
    samples = 32768 if name == "another probability" else 4096
    graph = around(net, fault)
    assert compare(module_samples(reference, x, samples), graph_samples(graph, x, samples))


def _without_conversion(net: Body) -> Reference:
    """A reference with the graph of plain dropout, as `net` itself may not be supported."""
    known = trace_for_any_batch(net, torch.from_numpy(rows(2)), None)
    return Reference(net, known)


def test_the_sign_of_noise_used_twice() -> None:
    torch.manual_seed(0)
    net = Sampled()
    reference = reference_of(net)
    x = rows(3)
    assert coupled(reference, sampled_graph(net, sign=-1.0), x) is None
    assert coupled(reference, sampled_graph(net, sign=1.0), x) is not None


class Counter(nn.Module):
    """Another factor in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, 2)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls = (self.calls + 1) % 4
        y: Tensor = self.layer(x) * (1 + self.calls)
        return y


class Seeded(nn.Module):
    """Noise that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, 2)

    def forward(self, x: Tensor) -> Tensor:
        torch.manual_seed(7)
        return F.dropout(self.layer(x), 0.3, True)


class Decided(nn.Module):
    """Python's random decides, one time in ten."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(FEATURES, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y * 2 if random.random() < 0.1 else y


def traced_by_hand(net: nn.Module, plain: nn.Module) -> Subject:
    """`net` beside the graph of `plain`, which is what a trace would freeze it to."""
    traced: Traced = trace_for_any_batch(plain, torch.from_numpy(rows(2)), None)
    return Subject(Reference(net, traced), traced.graph, traced.graph)


def _dropped(layer: nn.Module) -> nn.Module:
    return nn.Sequential(layer, nn.Dropout(0.3)).train()


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("net", "plain"),
    [
        (Counter(), lambda net: nn.Sequential(net.layer)),
        (Seeded(), lambda net: _dropped(net.layer)),
        (Decided(), lambda net: nn.Sequential(net.layer)),
    ],
    ids=["counter", "seeded", "decided by Python's random"],
)
def test_hidden_state_is_seen(net: nn.Module, plain: Callable[[nn.Module], nn.Module]) -> None:
    random.seed(3)
    with pytest.raises(DistributionError):
        check_distribution([traced_by_hand(net, plain(net))], rows())


def test_nothing_of_the_module_changes() -> None:
    net, norm = Counter(), nn.BatchNorm1d(2)
    hidden = nn.Sequential(net, norm, nn.Dropout(0.2)).train()
    norm.eval()
    subject = traced_by_hand(hidden, nn.Sequential(net.layer, norm, hidden[2]))
    before = {k: v.clone() for k, v in hidden.state_dict().items()}
    modes = [m.training for m in hidden.modules()]
    numpys, torchs, pythons = np.random.get_state(), torch.get_rng_state(), random.getstate()
    with pytest.raises(DistributionError):
        check_distribution([subject], rows())
    assert net.calls == 0
    assert modes == [m.training for m in hidden.modules()]
    assert all(torch.equal(v, before[k]) for k, v in hidden.state_dict().items())
    assert torch.equal(torchs, torch.get_rng_state())
    assert str(numpys) == str(np.random.get_state())
    assert pythons == random.getstate()
    assert not any(m._forward_hooks for m in hidden.modules())


def test_the_first_module_that_departs_is_named() -> None:
    net = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2)).eval()
    other = nn.Sequential(nn.Linear(FEATURES, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2)).eval()
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        other.get_parameter("2.weight").add_(0.1)
    with pytest.raises(DistributionError, match=r"^2: .*first module .* is this Linear"):
        check_distribution([traced_by_hand(net, other)], rows())


@pytest.mark.few(0)
def test_members_are_compared_one_by_one() -> None:
    nets = [nn.Sequential(nn.Linear(FEATURES, 2)) for _ in range(3)]
    good = [right(net) for net in nets]
    assert check_distribution(good, rows()).members == 3
    swapped = [Subject(a.reference, b.exact, b.sampled) for a, b in pairwise(good)]
    with pytest.raises(DistributionError):
        check_distribution(swapped, rows())


@pytest.mark.few(0)
def test_what_the_user_opted_into_is_skipped() -> None:
    torch.manual_seed(1)
    net = Body(lambda h: F.dropout(h, 0.3, True)).eval()
    subject = right(net)
    shared = around(net, lambda s, h: s.masked(h, s.mask((WIDTH,), 0.3, shared=True), 1 / 0.7))
    skipped = frozenset({Quantity.ROWS})
    report = check_distribution(
        [Subject(subject.reference, subject.exact, shared, skipped)], rows()
    )
    assert "not compared: correlation between rows" in str(report)
    with pytest.raises(DistributionError, match="correlation between rows"):
        check_distribution([Subject(subject.reference, subject.exact, shared)], rows())


@pytest.mark.few(0)
def test_full_reaches_its_power() -> None:
    net = Body(lambda h: F.dropout(h, 0.3, True)).eval()
    report = check_distribution([right(net)], rows(), Effort.FULL)
    assert report.power is not None
    assert report.power.mean <= 0.1
    assert report.power.standard_deviation <= 0.05
    assert report.power.correlation <= 0.1


@pytest.mark.few(0)
def test_the_same_twice() -> None:
    net = Body(lambda h: F.dropout(h, 0.3, True)).eval()
    assert str(check_distribution([right(net)], rows())) == str(
        check_distribution([right(net)], rows())
    )


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "drop",
    [
        lambda h: F.dropout(h, 0.3, training=True),
        lambda h: F.dropout2d(h[:, :, None, None], 0.3, training=True).flatten(1),
        lambda h: torch.dropout(h, 0.3, True),
    ],
)
def test_dropout_that_is_switched_off_is_off_in_the_module_too(drop: Middle) -> None:
    net = Body(drop).eval()
    reference = reference_of(net, "off")
    graph = reference.traced.graph
    assert check_distribution([Subject(reference, graph, graph)], rows()).power is None
