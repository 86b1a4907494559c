"""Compiled networks have the distribution of the user's module: mean, deviation, correlation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.laws import LAWS, Net, assert_same_law, compiled, drawn, drawn_compiled
from tests.examples import slow_but


@pytest.mark.parametrize("name", slow_but(["either path", "siamese"], LAWS))
def test_the_distribution_of_the_module(name: str, tmp_path: Path) -> None:
    net = Net(LAWS[name]).eval()
    model = compiled(net, str(tmp_path / "law.qbnn"))
    assert_same_law(drawn(net), drawn_compiled(model))
