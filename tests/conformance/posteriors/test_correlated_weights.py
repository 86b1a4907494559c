"""Weights with correlated noise compile: equal bits, and the distribution of the user's module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import qbnnc
from qbnnc.ir.types import Array
from tests.conformance.posteriors.correlated import FORMS, Net
from tests.conformance.test_conformance import Case
from tests.examples import slow_but

X = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
ROWS = X[:6]
QUICK = ["low rank and diagonal", "eigenbasis"]


@dataclass(frozen=True)
class Law:
    """The distance of an artefact's samples from the module's own, over all rows and outputs.

    `deviation` is the ratio of their standard deviations; `mean` is the distance of the means in
    deviations; `correlation` is that of the correlations between all pairs of rows and outputs.
    """

    deviation: float
    mean: float
    correlation: float

    @staticmethod
    def of(module: Array, artefact: Array) -> Law:
        a, b = (s.reshape(len(s), -1).astype(np.float64) for s in (module, artefact))
        spread = np.sqrt(a.var(0).mean())
        apart: Array = np.asarray(np.corrcoef(a.T)) - np.asarray(np.corrcoef(b.T))
        pairs = apart[np.triu_indices(len(apart), 1)]
        return Law(
            float(np.sqrt(b.var(0).mean()) / spread),
            float(np.sqrt(((a.mean(0) - b.mean(0)) ** 2).mean()) / spread),
            float(np.sqrt((pairs**2).mean())),
        )


def sampled(net: Net, samples: int) -> Array:
    """Samples of the module itself, [samples, rows, outputs]; the batch shares the weights."""
    torch.manual_seed(7)
    with torch.no_grad():
        each = torch.vmap(lambda _: net(ROWS), randomness="different", chunk_size=2000)
        return np.asarray(each(torch.zeros(samples)).numpy())


def artefacts(net: Net, folder: Path, bits: str) -> Case:
    path = folder / "net.qbnn"
    model = qbnnc.compile(net, path, calibration=X.numpy(), bits=bits, samples=5)
    return Case.of(model)


def compared(name: str, folder: Path, bits: str, samples: int) -> Law:
    """The law of the artefacts, whose bits are equal; compiling compares values with the module."""
    net = Net(FORMS[name]).eval()
    case = artefacts(net, folder, bits)
    case.check(ROWS.numpy(), seed=3, first_row=2)
    made = case.session.predict(ROWS.numpy(), samples=samples, seed=1)["samples"]
    return Law.of(sampled(net, samples), made)


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", slow_but(QUICK, FORMS))
def test_bits_and_distribution(name: str, tmp_path: Path) -> None:
    law = compared(name, tmp_path, "w8a7", 10_000)
    assert 0.97 <= law.deviation <= 1.03
    assert law.mean <= 0.1
    assert law.correlation <= 0.1


@pytest.mark.nightly
@pytest.mark.parametrize("bits", ["w8a7", "w4a7"])
@pytest.mark.parametrize("name", FORMS)
def test_many_samples(name: str, bits: str, tmp_path: Path) -> None:
    law = compared(name, tmp_path, bits, 70_000)
    room, shift, apart = (0.02, 0.1, 0.05) if bits == "w8a7" else (0.06, 0.35, 0.12)
    assert abs(law.deviation - 1) <= room
    assert law.mean <= shift
    assert law.correlation <= apart


def test_rows_of_a_batch_share_the_noise(tmp_path: Path) -> None:
    """Equal rows have equal samples, and layers that take one z have one stream."""
    net = Net(FORMS["swag"]).eval()
    case = artefacts(net, tmp_path, "w8a7")
    made = case.session.predict(ROWS[:1].repeat(3, 1).numpy(), samples=50, seed=1)["samples"]
    assert (made == made[:, :1]).all()
    assert np.ptp(made, axis=0).min() > 0
