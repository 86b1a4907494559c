"""Networks whose distribution no artefact has: refused by name, with what compiles."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbnnc.support.errors import UserError
from tests.conformance.laws import compiled

CALLS = {"count": 0}


class Chosen(nn.Module):
    """One of four fixed masks, or a drawn one, by whatever state a test names."""

    masks: Tensor
    number: Tensor

    def __init__(self, choose: Choose) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.choose = choose
        self.register_buffer("masks", (torch.rand(4, 8) < 0.6).float())
        self.register_buffer("number", torch.zeros((), dtype=torch.long))
        self.turns, self.count, self.kept = itertools.cycle(range(4)), 0, torch.ones(8)
        self.source = torch.Generator().manual_seed(3)
        self.rng = np.random.default_rng(0)

    @property
    def coin(self) -> bool:
        return random.random() < 0.5

    def forward(self, x: Tensor) -> Tensor:
        return self.choose(self, x)


Choose: TypeAlias = Callable[[Chosen, Tensor], Tensor]


def by_buffer(m: Chosen, x: Tensor) -> Tensor:
    mask = m.masks[m.number % 4]
    m.number += 1
    return x * mask


def by_counter(m: Chosen, x: Tensor) -> Tensor:
    m.count += 1
    return x * m.masks[m.count % 4]


def by_module_level(m: Chosen, x: Tensor) -> Tensor:
    CALLS["count"] += 1
    return x * m.masks[CALLS["count"] % 4]


def kept_for_calls(m: Chosen, x: Tensor) -> Tensor:
    if m.count % 5 == 0:
        m.kept = (torch.rand(8) < 0.5).float()
    m.count += 1
    return x * m.kept


def redrawn_after(m: Chosen, x: Tensor) -> Tensor:
    y = x * m.kept
    m.kept = (torch.rand(8) < 0.5).float()
    return y


def seeded(m: Chosen, x: Tensor) -> Tensor:
    torch.manual_seed(3)
    return F.dropout(x, 0.3, training=True)


def by_choice(m: Chosen, x: Tensor) -> Tensor:
    return x * m.masks[random.choice(range(4))]


def shuffled(m: Chosen, x: Tensor) -> Tensor:
    return x * torch.from_numpy(m.rng.permutation(np.repeat([0, 1], 4))).float()


def drawn_by_numpy(m: Chosen, x: Tensor) -> Tensor:
    return x * torch.from_numpy((np.random.rand(8) < 0.5).astype(np.float32))


def own_generator(m: Chosen, x: Tensor) -> Tensor:
    return x * torch.bernoulli(torch.full_like(x, 0.5), generator=m.source)


STATE = "forward keeps state between calls"
REFUSED: dict[str, tuple[Choose, str]] = {
    "counter": (by_counter, STATE),
    "buffer": (by_buffer, STATE),
    "module level": (by_module_level, STATE),
    "cycle": (lambda m, x: x * m.masks[next(m.turns)], STATE),
    "kept for five calls": (kept_for_calls, STATE),
    "redrawn after use": (redrawn_after, STATE),
    "seeded": (seeded, "seeds torch's generator"),
    "random.choice": (by_choice, "Python's random"),
    "property": (lambda m, x: x if m.coin else x * m.masks[0], "Python's random"),
    "numpy generator": (shuffled, "generator"),
    "numpy": (drawn_by_numpy, r"numpy\.random"),
    "torch generator": (own_generator, "generator of its own"),
}
ADVICE = r"ensemble|torch\.rand|leave generator|seeding out"


@pytest.mark.few(4)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", REFUSED)
def test_state_and_other_generators(name: str, nested: bool, tmp_path: Path) -> None:
    choose, message = REFUSED[name]
    chosen = nn.Sequential(Chosen(choose)) if nested else Chosen(choose)
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), chosen, nn.Linear(8, 2)).eval()
    with pytest.raises(UserError, match=message) as caught:
        compiled(net, str(tmp_path / "net.qbnn"))
    assert re.search(ADVICE, str(caught.value))
    assert list(tmp_path.iterdir()) == []


NOISE: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "Cauchy": (lambda x: x + torch.empty_like(x).cauchy_(), "by 'cauchy'"),
    "alpha dropout": (lambda x: F.alpha_dropout(x, 0.3, training=True), r"use nn\.Dropout"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NOISE)
def test_noise_of_training_is_refused_at_its_module(name: str, tmp_path: Path) -> None:
    """In a class whose name says nothing of dropout; never left off without a word."""
    noise, message = NOISE[name]
    gated = Chosen(lambda m, x: noise(x) if m.training else x)
    net = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), gated, nn.Linear(8, 2)).eval()
    with pytest.raises(UserError, match=rf"^2.* \(.*\): .*{message}"):
        compiled(net, str(tmp_path / "net.qbnn"), dropout="active")
    with pytest.raises(UserError, match="say `dropout='active'`"):
        compiled(net, str(tmp_path / "net.qbnn"))
    assert list(tmp_path.iterdir()) == []
