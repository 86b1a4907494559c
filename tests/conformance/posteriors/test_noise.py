"""Noise on activations: oracle == onnxruntime == runtime, with the module's distribution."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbnnc.ir.ops import NoiseCodes
from tests.conformance.posteriors.compared import (
    NIGHTLY_SAMPLES,
    check_bits,
    check_distribution,
    compiled,
)
from tests.conformance.posteriors.noise_networks import FORMS, Net
from tests.examples import slow_but

USUAL = ("Gaussian dropout", "local reparameterisation")


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", slow_but(USUAL, FORMS))
def test_bits_and_distribution(name: str, tmp_path: Path) -> None:
    made = compiled(Net(FORMS[name]), tmp_path)
    assert any(isinstance(node.op, NoiseCodes) for node in made.model.graph.nodes)
    check_bits(made)
    check_distribution(made)


@pytest.mark.nightly
@pytest.mark.parametrize("name", FORMS)
def test_distribution_of_many_samples(name: str, tmp_path: Path) -> None:
    check_distribution(compiled(Net(FORMS[name]), tmp_path), NIGHTLY_SAMPLES)
