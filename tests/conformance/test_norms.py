"""One normalisation of every shape: oracle == runtime == onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest

from qbnnc.ir.model import Model
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import load
from tests.backends.equality import artefact
from tests.conformance.norms import NORMS, Norm


def engines_agree(model: Model, norm: Norm) -> None:
    x = norm.rows()
    (wanted,) = oracle_samples(model, x, samples=3 if model.stochastic else 1, seed=5)
    found = load(model).predict(x, len(wanted), 5)["samples"]
    assert np.array_equal(found.view(np.uint32), wanted.view(np.uint32))
    onnx = artefact(model, len(wanted)).predict(x, seed=5)["samples"]
    assert np.array_equal(onnx.view(np.uint32), wanted.view(np.uint32))


@pytest.mark.parametrize("name", NORMS)
def test_engines_agree(name: str) -> None:
    engines_agree(NORMS[name].model(), NORMS[name])


@pytest.mark.parametrize("name", ["tokens", "instance", "groups of channels"])
def test_engines_agree_behind_dropout(name: str) -> None:
    engines_agree(NORMS[name].model(dropout=True), NORMS[name])
