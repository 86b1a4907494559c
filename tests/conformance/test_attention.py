"""Attention, from torch to bits: oracle == onnxruntime == runtime == C, near the module.

Compiling compares the distribution of the float graph with the module's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import qbnnc
from qbnnc.backends.onnx import emit
from qbnnc.backends.onnx.session import OnnxArtefact
from qbnnc.frontend import Dropout
from qbnnc.ir.model import Model
from qbnnc.ir.ops import MatMulInteger, SoftmaxInteger
from qbnnc.ir.oracle import oracle_samples
from qbnnc.runtime import load
from qbnnc.verification.oracle import bits
from tests.backends.test_c import CHECKED, CHECKERS, ran
from tests.examples import slow_but
from tests.frontend.attention import NETWORKS, STOCHASTIC, made

ROWS = 128
_NEAR = 0.12  # of the outputs' deviation, root mean square, for the least like networks
_ATTENDS = 0.06  # for one layer of attention


def compiled(name: str, folder: Path) -> tuple[Model, torch.Tensor]:
    """A network at w8a7, and rows."""
    net, shape = made(name)
    rows = torch.randn(ROWS, *shape, generator=torch.Generator().manual_seed(0))
    dropout: Dropout | None = "active" if name in STOCHASTIC else None
    path, samples = folder / "net.qbnn", 3 if dropout else None
    model = qbnnc.compile(net, path, calibration=rows.numpy(), dropout=dropout, samples=samples)
    return model, rows


def error(name: str, model: Model, rows: torch.Tensor) -> float:
    """The root mean square error, relative to the mean deviation of an output over rows."""
    expected = made(name)[0](rows).detach().numpy()
    found = oracle_samples(model, rows.numpy(), samples=1)[0][0].reshape(expected.shape)
    return float(np.sqrt(np.square(found - expected).mean()) / expected.std(0).mean())


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", slow_but(["hand-written"], NETWORKS))
def test_all_engines_give_the_same_bits(name: str, tmp_path: Path) -> None:
    model, rows = compiled(name, tmp_path)
    x, count = rows[:5].numpy(), model.samples
    expected = oracle_samples(model, x, samples=count, seed=6, first_row=1)
    names = model.head.sample_names(len(expected))
    for backend in (OnnxArtefact.from_bytes(emit(model, samples=count)), load(model)):
        found = backend.predict(x, samples=count, seed=6, first_row=1)
        for output, truth in zip(names, expected, strict=True):
            assert (bits(found[output]) == bits(truth)).all()
    if CHECKERS:
        ran(tmp_path, model, CHECKED, CHECKERS[0])
    if name not in STOCHASTIC:
        assert error(name, model, rows) < _NEAR


def test_one_layer_of_attention_is_near_the_float_one(tmp_path: Path) -> None:
    """Between its products nothing is rounded but the probabilities."""
    model, rows = compiled("scores: relative bias", tmp_path)
    kinds = [type(node.op) for node in model.graph.nodes]
    first = kinds.index(MatMulInteger)
    assert kinds[first : first + 3] == [MatMulInteger, SoftmaxInteger, MatMulInteger]
    assert error("scores: relative bias", model, rows) < _ATTENDS
