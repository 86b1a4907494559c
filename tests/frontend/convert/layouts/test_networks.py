"""Networks with the batch not first: the graph gives the module's values on the same draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qbnnc.frontend import Dropout, read_modules
from qbnnc.frontend.distribution.coupled_calls import coupled
from tests.frontend.sequences_of_rows import STEPS, WIDTH
from tests.frontend.time_first import NETWORKS, built, is_random


def rows(count: int) -> Tensor:
    return torch.randn(count, STEPS, WIDTH, generator=torch.Generator().manual_seed(2))


@pytest.mark.sample(12)
@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_the_modules(name: str) -> None:
    dropout: Dropout | None = "active" if is_random(name) else None
    (member,) = read_modules([built(name)], rows(4), dropout=dropout).members
    assert coupled(member.reference, member.graph, rows(3).numpy(), calls=4) is None
