"""Objects of libraries, compiled: equal bits in three engines, and the object's distribution."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import qbnnc
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.ir.head import Task
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import Session, load
from qbnnc.verification.oracle import bits
from tests.examples import slow_but
from tests.frontend.objects.example import Example, rows
from tests.frontend.objects.examples import CORRELATED, INDEPENDENT

Float64 = NDArray[np.float64]

ALL = INDEPENDENT | CORRELATED
QUICK = ("laplace last layer diag", "laplace last layer kron", "swa_gaussian")
_IN_FILE, SAMPLES = 16, 4000
_ROWS = 6


def compiled(example: Example, folder: Path) -> tuple[Path, Path]:
    paths = folder / "net.qbnn", folder / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 8 bits change the spread is what is measured here
        qbnnc.compile(
            example.source, paths, calibration=rows().numpy(), bits="w8a8", samples=_IN_FILE
        )
    return paths


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", slow_but(QUICK, ALL))
def test_bits_and_distribution(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = ALL[name]()
    file, onnx = compiled(example, tmp_path)
    session, x = load(file), rows(_ROWS).numpy()
    expected = oracle_samples(session.model, x, samples=_IN_FILE, seed=3, first_row=0)
    (key,) = session.model.head.sample_names(len(expected))
    for backend in (session, OnnxArtefact.from_bytes(onnx.read_bytes())):
        made = backend.predict(x, seed=3)
        assert (bits(made[key]) == bits(expected[0])).all(), backend
    _check_moments(_own(example), _samples(session, x, key))


def _samples(session: Session, x: NDArray[np.float32], key: str) -> Float64:
    """The samples of the outputs; probabilities where the object gives those."""
    samples = np.asarray(session.predict(x, samples=SAMPLES, seed=0)[key], np.float64)
    if session.model.head.task is not Task.CLASSIFICATION:
        return samples
    powers = np.exp(samples)
    found: Float64 = powers / powers.sum(-1, keepdims=True)
    return found


def _own(example: Example) -> Float64:
    with torch.no_grad():
        torch.manual_seed(9)
        drawn = [example.outputs(rows(_ROWS)).numpy() for _ in range(SAMPLES)]
    return np.stack(drawn).astype(np.float64)


def _check_moments(own: Float64, found: Float64) -> None:
    """Standard deviations are pooled over rows and outputs, so that chance moves them by 1 %."""
    sizes = [np.sqrt(samples.var(0).mean()) for samples in (own, found)]
    assert 0.97 < sizes[1] / sizes[0] < 1.03, sizes
    assert np.abs(own.mean(0) - found.mean(0)).max() < 0.1 * own.std(0).max()
    flat = [samples.reshape(len(samples), -1) for samples in (own, found)]
    apart = np.corrcoef(flat[0].T) - np.corrcoef(flat[1].T)
    assert np.abs(apart).max() < 0.1
