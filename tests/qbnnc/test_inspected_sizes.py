"""`inspect` counts what weights are made of, whatever draws them."""

from __future__ import annotations

import pytest

from qbnnc.inspection import inspect
from qbnnc.ir.model import Model
from tests.runtime.draws import drop_connect, last_layer_chosen, noisy
from tests.runtime.sampled import bayes_mlp

MLP = 9 * 33 + 33
LAST = 3 * 33 + 3


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (last_layer_chosen(count=5), MLP + 5 * LAST),
        (drop_connect(), MLP + 3 * LAST),
        (bayes_mlp(), 2 * (MLP + 33 * 20 + 20 + 20 * 3 + 3)),
        (noisy(), 4 * 3 * 9 + 4 + 5 * 48 + 5),
    ],
)
def test_float_bytes(model: Model, parameters: int) -> None:
    """All members of a choice count, and mu and sigma; masks, numbers and noise do not."""
    assert inspect(model, 1).float_bytes == 4 * parameters


def test_random_words() -> None:
    """A word has four lanes: 48 lanes of noise, twice, and one lane of a number."""
    assert inspect(noisy(), 1).sample_words == 12 + 12 + 1
