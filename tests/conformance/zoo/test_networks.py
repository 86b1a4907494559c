"""Published networks, trained here: equal bits in all engines, the float network's uncertainty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qbnnc.verification.c_program import run_test
from tools.zoo.compiling import Compiled, Fidelity, compiled, differences, fidelity, read
from tools.zoo.goals import missed
from tools.zoo.network import Network
from tools.zoo.registry import NETWORKS, named

SAMPLE = ("MLP, MC dropout", "Mixture density network", "VAE")
IN_C = ("Evidential regression", "LeNet", "TC-ResNet", "U-Net, bilinear", "N-BEATS")
BY_NAME = [network.name for network in NETWORKS]


def made(network: Network, folder: Path, *, c: bool = False) -> Compiled:
    """Train on one thread, so that the weights are the same on every machine of a kind."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return compiled(network, read(network, network.trained()), folder, c=c)
    finally:
        torch.set_num_threads(threads)


def check(made: Compiled) -> None:
    """Expect the oracle's bits of both engines, and uncertainty within the goals."""
    for comparison in differences(made):
        assert comparison.values > 0
        assert comparison.equal, comparison
    check_goals(fidelity(made), classes=made.network.loss.classes)


def check_goals(found: Fidelity, *, classes: bool) -> None:
    assert not [*missed(found, classes=classes)], found


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample(tmp_path: Path, name: str) -> None:
    check(made(named(name), tmp_path))


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in SAMPLE])
def test_all_others(tmp_path: Path, name: str) -> None:
    network = named(name)
    artefacts = made(network, tmp_path, c=name in IN_C)
    check(artefacts)
    if name in IN_C:
        outcome = run_test(tmp_path / "network.c")
        assert outcome.equal, outcome.text


@pytest.mark.parametrize(
    "far",
    [
        Fidelity(0.111, 0.1, 0.0, np.nan, 1.0),
        Fidelity(0.1, 0.1, 0.006, np.nan, 1.0),
        Fidelity(0.1, 0.1, 0.0, np.nan, 0.8),
        Fidelity(1.03, 1.0, np.nan, 1.0, 1.0),
        Fidelity(1.0, 1.0, np.nan, 0.94, 1.0),
        Fidelity(1.0, 1.0, np.nan, 1.06, 1.0),
        Fidelity(1.0, 1.0, np.nan, np.nan, 1.0),
        Fidelity(1.0, 1.0, np.nan, 1.0, 1.2),
    ],
)
def test_goals_can_be_missed(far: Fidelity) -> None:
    with pytest.raises(AssertionError):
        check_goals(far, classes=far.kl >= 0)


def test_goals_can_be_met() -> None:
    check_goals(Fidelity(0.11, 0.1, 0.005, np.nan, 0.95), classes=True)
    check_goals(Fidelity(1.02, 1.0, np.nan, 0.96, np.nan), classes=False)


def test_the_zoo_is_large_and_cites_its_papers() -> None:
    assert len(NETWORKS) >= 40
    assert len({*BY_NAME}) == len(NETWORKS)
    for network in NETWORKS:
        paper = network.cited
        assert 1990 < paper.year < 2030, network.name
        assert paper.authors, network.name
        assert paper.title, network.name
    assert {*SAMPLE, *IN_C} <= {*BY_NAME}
