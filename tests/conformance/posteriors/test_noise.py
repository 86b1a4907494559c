"""Noise on activations: oracle == onnxruntime == runtime, with the module's distribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qbnnc import compile
from qbnnc.ir.ops import NoiseCodes
from qbnnc.ir.types import Array
from qbnnc.runtime import load
from tests.conformance.posteriors.noise_networks import FORMS, Net
from tests.conformance.test_conformance import Case

SAMPLES = 3000
X = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
ROWS = X[:6]
USUAL = ("Gaussian dropout", "local reparameterisation")
CASES = [name if name in USUAL else pytest.param(name, marks=pytest.mark.nightly) for name in FORMS]


@pytest.mark.parametrize("name", CASES)
def test_bits_and_distribution(name: str, tmp_path: Path) -> None:
    net = Net(FORMS[name]).eval()
    path = str(tmp_path / "net.qbnn")
    model = compile(net, path, calibration=X.numpy(), bits="w8a7", samples=4, observer="minmax")
    assert any(isinstance(node.op, NoiseCodes) for node in model.graph.nodes)
    Case.of(model).check(ROWS.numpy(), seed=5)
    torch.manual_seed(7)
    with torch.no_grad():
        theirs = np.stack([net(ROWS).numpy() for _ in range(SAMPLES)])
    ours = load(model).predict(ROWS.numpy(), samples=SAMPLES, seed=1)["samples"]
    assert_same_moments(ours, theirs)


def assert_same_moments(ours: Array, theirs: Array) -> None:
    """Samples [N, rows, outputs] have the same means, deviations and correlations.

    The 7 bits of activations are steps of one size. So errors are measured in the usual deviation
    where an element's own is smaller, and correlations are those of elements that vary as usual.
    """
    spread = theirs.std(0)
    usual = np.maximum(spread, np.median(spread))
    assert abs(ours.std(0).mean() / spread.mean() - 1) < 0.03
    assert (np.abs(ours.std(0) - spread) < 0.1 * usual).all(), ours.std(0) / spread
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 0.2 * usual).all()
    varies = (spread >= np.median(spread) / 2).reshape(-1)
    found, expected = (
        np.corrcoef(each.reshape(len(each), -1)[:, varies].T) for each in (ours, theirs)
    )
    assert np.abs(found - expected).max() < 0.15
