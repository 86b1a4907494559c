"""The first inputs of every target: the part of `make fuzz` that each change has to pass."""

from __future__ import annotations

import pytest

from tests.fuzz.campaign import Tally, campaign
from tests.fuzz.verdict import Kind

SAMPLE = {"qbnn": 500, "npz": 2000, "onnx": 80, "programs": 60, "states": 60, "options": 80}
SHARE = {"qbnn": 0.25, "npz": 0.05, "onnx": 0.15, "programs": 0.01, "states": 0.05, "options": 0.2}


@pytest.mark.slow
@pytest.mark.parametrize("target", SAMPLE)
def test_nothing_is_found(target: str) -> None:
    """Also: a good share of the inputs are accepted and run, else little would be tested."""
    tally = Tally(target, 0)
    campaign(tally, SAMPLE[target])
    assert tally.inputs == SAMPLE[target]
    assert not tally.findings, tally.text()
    assert tally.counts[Kind.RAN] >= SHARE[target] * tally.inputs, tally.text()


def test_nothing_is_found_in_the_first_archives() -> None:
    """The quickest target alone, before every commit."""
    tally = Tally("npz", 0)
    campaign(tally, 50)
    assert tally.inputs == 50
    assert not tally.findings, tally.text()
