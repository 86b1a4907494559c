"""The study's networks compile."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import qbnnc
from qbnnc.runtime import load
from qbnnc.study.paper.training.jobs import Job
from qbnnc.study.paper.training.recipes import METHODS
from qbnnc.verification.distribution import DistributionCheck
from tests.examples import slow_but

LENET = pytest.param("lenet", (1, 28, 28), 10, marks=pytest.mark.slow)


@pytest.mark.parametrize("method", slow_but(["mcd"], METHODS[:3]))
@pytest.mark.parametrize(("network", "row", "outputs"), [LENET, ("concrete", (8,), 1)])
def test_a_network_compiles(
    network: str, row: tuple[int, ...], outputs: int, method: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    job = Job(network, method, None if network == "lenet" else 0)
    x = torch.rand(128, *row)
    net = job.module(8).eval()
    task = "classification" if network == "lenet" else "regression"
    # LeNet is made of layers whose distributions are compared elsewhere, in less time.
    check: DistributionCheck = None if network == "lenet" else "default"
    made, saved = tmp_path / "net.qbnn", tmp_path / "net.pt"
    qbnnc.save(net, saved, (x[:2],), calibration=x, distribution_check=check)
    qbnnc.compile(saved, made, bits="w8a7", task=task, distribution_check=check)
    drawn = load(made).predict(x[:3].numpy(), seed=0)
    assert drawn["samples"].shape == (1 if method == "pointwise" else 20, 3, outputs)
    spread = float(drawn["samples"].std(axis=0).max())
    assert (spread > 0) == (method != "pointwise")
