"""State that forward keeps between calls, seeds, and generators of others are not supported."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.frontend import read_module
from qbnnc.frontend.module.snapshot import Snapshot
from qbnnc.support.errors import CompileError
from tests.frontend.outputs import outputs_of

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
OUTSIDE = [0]


def member() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


class Snapshots(nn.Module):
    """Four members, and everything that people choose one of them by."""

    masks: Tensor
    number: Tensor
    shift: Tensor
    calls = 0

    def __init__(self, choose: Callable[[Snapshots, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.choose = choose
        self.members = nn.ModuleList([member() for _ in range(4)])
        self.register_buffer("masks", (torch.rand(4, 6) < 0.6).float())
        self.register_buffer("number", torch.zeros((), dtype=torch.long))
        self.register_buffer("shift", torch.zeros(6))
        self.i, self.todo, self.nested = 0, list(self.members), {"next": [0]}
        self.mask: Tensor | None = None
        self.cycle, self.count = itertools.cycle(self.todo), itertools.count()
        self.endless = (each for each in itertools.cycle(list(self.members)))
        self.random, self.numpy = random.Random(1), np.random.default_rng(3)
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.choose(self, x)

    def run(self, i: int, x: Tensor) -> Tensor:
        y: Tensor = self.members[i % 4](x)
        return y


Choice: TypeAlias = Callable[[Snapshots, Tensor], Tensor]


def counter(m: Snapshots, x: Tensor) -> Tensor:
    m.i = (m.i + 1) % 4
    return m.run(m.i, x)


def slow_counter(m: Snapshots, x: Tensor) -> Tensor:
    m.i += 1
    return m.run(m.i // 100, x)


def buffer(m: Snapshots, x: Tensor) -> Tensor:
    mask = m.masks[m.number % 4]
    m.number += 1
    return m.run(0, x * mask)


def redrawn(m: Snapshots, x: Tensor) -> Tensor:
    mask = torch.ones(6) if m.mask is None else m.mask
    m.mask = (torch.rand(6) < 0.5).float()
    return m.run(0, x * mask)


def cached(m: Snapshots, x: Tensor) -> Tensor:
    if m.mask is None:
        m.mask = (torch.rand(6) < 0.5).float()
    return m.run(0, x * m.mask)


def running(m: Snapshots, x: Tensor) -> Tensor:
    m.shift.mul_(0.9).add_(0.1 * x.mean(0))
    return m.run(0, x - m.shift)


def nested(m: Snapshots, x: Tensor) -> Tensor:
    m.nested["next"][0] += 1
    return m.run(m.nested["next"][0], x)


def of_the_class(m: Snapshots, x: Tensor) -> Tensor:
    Snapshots.calls += 1
    return m.run(Snapshots.calls, x)


def outside(m: Snapshots, x: Tensor) -> Tensor:
    OUTSIDE[0] += 1
    return m.run(OUTSIDE[0], x)


def shrinking(m: Snapshots, x: Tensor) -> Tensor:
    m.members[0].get_parameter("0.weight").data.mul_(0.99)
    return m.run(0, x)


KEPT: dict[str, tuple[Choice, str]] = {
    "counter": (counter, r"self\.i"),
    "slow counter": (slow_counter, r"self\.i"),
    "cycle": (lambda m, x: next(m.cycle)(x), r"self\.cycle"),
    "count": (lambda m, x: m.run(next(m.count), x), r"self\.count"),
    "endless": (lambda m, x: next(m.endless)(x), r"self\.endless"),
    "popped": (lambda m, x: m.todo.pop()(x), r"self\.todo"),
    "buffer": (buffer, r"self\.number"),
    "redrawn": (redrawn, r"self\.mask"),
    "cached": (cached, r"self\.mask"),
    "running": (running, r"self\.shift"),
    "nested": (nested, r"nested\.next"),
    "class": (of_the_class, r"Snapshots\.calls"),
    "outside": (outside, r"OUTSIDE"),
    "weights": (shrinking, r"members\.0\.0\.weight"),
}


@pytest.mark.few(7)
@pytest.mark.parametrize("name", KEPT)
def test_state_that_changes_outputs(name: str) -> None:
    choose, place = KEPT[name]
    net = Snapshots(choose).eval()
    before = Snapshot.of(net)
    message = rf"^Snapshots: forward keeps state between calls \({place}.*as an ensemble"
    with pytest.raises(CompileError, match=message):
        read_module(net, X)
    changed = [] if name == "endless" else before.changed(Snapshot.of(net))
    assert changed == []  # a Python generator alone cannot be put back


def busy(m: Snapshots, x: Tensor) -> Tensor:
    m.i += 1
    m.number += 1
    m.mask = x
    m.nested["next"].append(1)
    return m.run(0, x)


@pytest.mark.few(0)
def test_state_that_changes_nothing() -> None:
    net = Snapshots(busy).eval()
    (output,) = outputs_of(read_module(net, X), X)
    np.testing.assert_allclose(output, net.run(0, X).detach(), rtol=1e-5, atol=1e-6)
    assert (net.i, int(net.number), net.nested) == (0, 0, {"next": [0]})


def test_a_number_in_a_buffer_is_a_constant() -> None:
    net = Snapshots(lambda m, x: m.run(0, x * m.masks[m.number % 4])).eval()
    net.number.fill_(6)
    (output,) = outputs_of(read_module(net, X), X)
    np.testing.assert_allclose(output, net(X).detach(), rtol=1e-5, atol=1e-6)


def seeded(m: Snapshots, x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return m.run(0, F.dropout(x, 0.5, training=True))


def forked(m: Snapshots, x: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        mask = (torch.rand_like(x) < 0.5).float()
    return m.run(0, x * mask)


def state_set(m: Snapshots, x: Tensor) -> Tensor:
    torch.set_rng_state(torch.Generator().manual_seed(4).get_state())
    return m.run(0, F.dropout(x, 0.5, training=True))


def by_the_clock(m: Snapshots, x: Tensor) -> Tensor:
    torch.seed()
    return m.run(0, F.dropout(x, 0.5, training=True))


def of_its_own(m: Snapshots, x: Tensor) -> Tensor:
    return m.run(0, x * (torch.rand(x.shape, generator=m.generator) < 0.5))


GENERATORS: dict[str, tuple[Choice, str]] = {
    "manual_seed": (seeded, r"forward seeds torch's generator .*'bernoulli' gives the same"),
    "fork_rng": (forked, r"forward seeds torch's generator .*'rand_like' gives the same"),
    "set_rng_state": (state_set, r"forward seeds torch's generator .*take the seeding out"),
    "seed": (by_the_clock, r"forward seeds torch's generator .*no seed gives its numbers again"),
    "generator": (of_its_own, r"'rand' draws from a generator of its own.*leave generator= out"),
    # as rare as these are, no output ever differs
    "random": (lambda m, x: m.run(random.random() < 1e-12, x), r"numbers of Python's random"),
    "randint": (lambda m, x: m.run(random.randint(0, 10**9) == 7, x), r"of Python's random"),
    "Random": (lambda m, x: m.run(m.random.random() < 1e-12, x), r"of Python's random"),
    "numpy": (lambda m, x: m.run(np.random.rand() < 1e-12, x), r"numbers of numpy\.random"),
    "Generator": (lambda m, x: m.run(m.numpy.random() < 1e-12, x), r"generator 'numpy' of its own"),
    "default_rng": (
        lambda m, x: m.run(np.random.default_rng().random() < 1e-12, x),
        r"an unseeded generator",
    ),
    "SystemRandom": (
        lambda m, x: m.run(random.SystemRandom().random() < 1e-12, x),
        r"an unseeded generator",
    ),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_that_are_not_torchs_own(name: str) -> None:
    choose, message = GENERATORS[name]
    with pytest.raises(CompileError, match=rf"^Snapshots: .*{message}"):
        read_module(Snapshots(choose).eval(), X)


def test_a_number_read_from_a_tensor() -> None:
    net = Snapshots(lambda m, x: m.run(0, x) if torch.rand(()) < 0.1 else m.run(1, x))
    with pytest.raises(CompileError, match=r"reads a number from a tensor.*multiply by a mask"):
        read_module(net.eval(), X)
